"""Whether an account is ready before the market opens, and when that is checked."""
