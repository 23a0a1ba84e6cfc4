"""Labeling jobs: opened by the router or a person, worked through an HTTP API, merged into the dataset."""
