"""Queries on notices, channels, the outbox and incidents."""
