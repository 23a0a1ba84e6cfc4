"""S3-compatible servers that can be started on this machine."""
