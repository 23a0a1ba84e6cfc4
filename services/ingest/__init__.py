"""Ingest: brings images from a customer's storage into datasets."""
