"""Where the console meets the lineage service and the browser."""
