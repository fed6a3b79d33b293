"""Rows, queries, cipher and migrations, on SQLite and PostgreSQL. No other package sees a row."""
