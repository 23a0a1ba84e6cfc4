"""Twins and fixtures for tests: ours, and those of anyone who builds on Loopline."""
