"""Pure decisions of labeling: no network, no disk, no framework."""
