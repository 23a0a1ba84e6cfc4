"""Decisions of the inference service: no network, no engine, no framework."""
