"""The simulated exchange: its days, its instruments and their prices. Nothing here knows HTTP or accounts."""
