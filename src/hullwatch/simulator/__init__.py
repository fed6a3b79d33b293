"""A stand-in for Fyers API v3 over real HTTP and WebSocket, written from Fyers' documents alone."""
