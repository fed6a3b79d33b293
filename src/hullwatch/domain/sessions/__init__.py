"""Broker sessions: their states, tokens, verification and login links."""
