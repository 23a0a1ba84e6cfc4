"""The routes of the console's API: thin handlers, a module per page or so."""
