"""Decides what of the graph is shown; pure."""
