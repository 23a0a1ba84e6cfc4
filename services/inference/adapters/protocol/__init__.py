"""The Open Inference Protocol: from bytes to requests, and from answers to bytes."""
