"""The control calls under `/simulator`. They are the simulator's own: no limits, no faults, no login."""
