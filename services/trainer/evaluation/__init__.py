"""Measures networks through their ONNX files, as they are served; no torch here.

A training's own evaluation, runs that evaluate, and what quantizes.
"""
