"""Cutting out what a person points at: two built-in tools, and models that users bring."""
