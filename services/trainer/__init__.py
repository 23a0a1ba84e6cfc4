"""Trains models: from a dataset version to a committed model version."""
