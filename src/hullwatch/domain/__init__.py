"""What is true whatever the wire: values and rules. No input or output, no present time, no waiting."""
