"""The router: flows' rules decide what starts, what is promoted, and where results go."""
