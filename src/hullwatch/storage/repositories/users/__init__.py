"""Queries on users and their logins."""
