"""The optional renewal of sessions; plugs in at the session hook."""
