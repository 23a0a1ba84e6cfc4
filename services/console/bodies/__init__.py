"""What goes over the wire to the page: THE schema of the console's API (openapi.json)."""
