"""Runs annotate: `python -m services.annotate`."""

from loopline.runtime.service import run
from services.annotate.service import Annotate
from services.annotate.settings import AnnotateSettings

if __name__ == "__main__":
    run(Annotate, AnnotateSettings)
