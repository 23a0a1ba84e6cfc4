"""How good a model is: figures, where they come from, and whether one model is better than another.

Pure: predictions and truth in, a `report.Report` and `outcomes.Outcomes` out. Which images are
looked at, and how a network is asked about them, is the trainer's; how a report looks is
`loopline.reports`'. `report` needs nothing but pydantic; everything else needs numpy.
"""
