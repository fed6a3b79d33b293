"""The reliability programme: seeded experiments, counted and published with 95 % bounds in ``docs/reliability.md``."""
