"""What ingest touches: the customer's bucket, and the image decoder."""
