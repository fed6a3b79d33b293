"""The only package that knows Fyers' addresses, codes and payloads."""
