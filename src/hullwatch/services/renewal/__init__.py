"""Renewal."""
