"""Queries, one module a port. They take and return domain values and speak through a `Transaction`."""
