"""What operators see and are alerted to."""
