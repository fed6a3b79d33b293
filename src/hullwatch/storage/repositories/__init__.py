"""Queries, one class per port. They take and return domain values and run in a `Transaction`."""
