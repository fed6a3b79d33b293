"""Checks before the market opens, and the notices about them."""
