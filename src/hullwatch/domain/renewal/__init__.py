"""Rules of the optional renewal of sessions; off by default."""
