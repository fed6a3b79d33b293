"""Values and rules. No input or output, no current time, no waiting."""
