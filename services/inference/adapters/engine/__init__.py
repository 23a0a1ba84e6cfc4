"""onnxruntime, and how requests share its executions."""
