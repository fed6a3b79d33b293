"""Logins at Fyers: the redirect, users' own apps, and one-tap login links."""
