"""Lineage: the workflow graph, projected from the commit log and served over HTTP."""
