"""Reports for people: the page of an evaluation, its plots, and the card of a model.

What they show is decided in `loopline.evaluation`; here it is only drawn. Nothing but the standard
library and the schema of a report, so a page can be made wherever a report can be read.
"""
