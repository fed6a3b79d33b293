"""What hullwatch does, by subject; it reaches databases, Fyers and channels through the ports."""
