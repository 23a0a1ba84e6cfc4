"""onnxruntime, gRPC and the log, turned into what the domain speaks of."""
