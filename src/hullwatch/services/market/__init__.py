"""Market data and averages for one account."""
