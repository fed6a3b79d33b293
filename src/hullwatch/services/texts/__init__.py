"""The texts of notices and API answers, and the one form of a time."""
