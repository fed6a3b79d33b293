"""Hullwatch: monitors Indian markets for many Fyers accounts at once, also when one account's token expires."""

__version__ = "0.2.0.dev0"
