"""Which model versions are served: what the log says of them, loaded and unloaded."""
