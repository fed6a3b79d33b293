"""Watchlists and the cycles that read candles and find signals."""
