"""Inference: serves model versions to clients, and applies them to datasets."""
