"""Rows, queries, cipher and migrations, on SQLite and PostgreSQL. Rows never leave this room."""
