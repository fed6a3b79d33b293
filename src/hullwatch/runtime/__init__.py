"""Clock, supervisor, backoff, broadcast, logging: technical parts without domain knowledge."""
