"""The HTTP door: routes, push channel, and the one table from failure to status."""
