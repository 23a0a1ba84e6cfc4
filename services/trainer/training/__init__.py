"""The loop that trains every recipe, in a process of its own."""
