"""Hullwatch: watches Indian markets for many Fyers accounts at once, and no token expiry stops it."""

__version__ = "0.2.0.dev0"
