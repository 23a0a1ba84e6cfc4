"""Where annotate meets the log, the object store, its database and the network."""
