"""Accounts, passwords and logins of people."""
