"""What is true of the Fyers room; `scripted` is the HTTP server that stands in for Fyers here."""
