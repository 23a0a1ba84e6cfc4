"""A gRPC front of our own: HTTP/2 on one event loop, tensors read from the socket into place."""
