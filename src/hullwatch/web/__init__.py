"""HTTP routes, the event socket, and the one table from failure to status."""
