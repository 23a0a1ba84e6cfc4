"""The graph in SQLite or PostgreSQL."""
