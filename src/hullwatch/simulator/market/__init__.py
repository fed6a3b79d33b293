"""The simulated exchange: its days, instruments and prices."""
