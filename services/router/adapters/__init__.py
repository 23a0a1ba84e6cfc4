"""The router's ways to the log, the objects, customers' storage and the server's advisories."""
