"""The only room that knows Fyers' addresses, codes and payloads."""
