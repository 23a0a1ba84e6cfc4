"""gRPC and REST: who comes in, and how they are answered."""
