"""Watchlists, why a symbol is not monitored, and how much of a day was monitored."""
