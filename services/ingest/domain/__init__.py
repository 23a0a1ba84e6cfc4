"""Decisions of the ingest service: no network, no disk, no framework."""
