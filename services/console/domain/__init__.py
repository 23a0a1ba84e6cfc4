"""Pure decisions of the console: no network, no disk, no framework."""
