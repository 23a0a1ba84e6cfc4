"""What training, inference and ingest must do to pixels in exactly the same way."""
