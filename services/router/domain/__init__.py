"""Pure decisions of the router: which rules fire, what is promoted, what becomes of results."""
