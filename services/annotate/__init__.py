"""Labeling jobs: opened, worked through an HTTP API, merged into the dataset."""
