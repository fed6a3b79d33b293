"""Decides about broker sessions: validation, verification, expiry and mass refusals."""
