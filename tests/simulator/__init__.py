"""What is true of the simulated Fyers."""
