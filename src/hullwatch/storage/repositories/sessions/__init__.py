"""Queries on sessions at Fyers and login links."""
