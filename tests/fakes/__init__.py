"""Stand-ins that satisfy the ports; each passes the same cases as the real adapter."""
