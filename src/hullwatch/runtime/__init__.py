"""Running things in time: clock, supervision, backoff, broadcast. Knows nothing of markets."""
