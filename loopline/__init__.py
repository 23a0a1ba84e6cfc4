"""Loopline: the data flywheel for computer vision, closed."""

__version__ = "0.1.0"
