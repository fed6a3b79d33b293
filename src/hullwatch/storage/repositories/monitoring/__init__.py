"""Queries on watchlists, monitoring wishes and signals."""
