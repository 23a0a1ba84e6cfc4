"""Inference: serves model versions to clients, and applies them to datasets."""

from services.inference.adapters.process_tuning import poll_in_callers

poll_in_callers()  # gRPC reads it as it is imported, which everything below does
