"""The official SDK runs against the simulated Fyers."""
