"""Notices, the channels that carry them, and incidents that are reported once."""
