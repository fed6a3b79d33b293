"""What is true of the domain's values and rules."""
