"""Stores notices and delivers them over users' channels."""
