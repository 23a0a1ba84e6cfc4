"""Runs lineage: `python -m services.lineage`."""

from loopline.runtime.service import run
from services.lineage.service import Lineage
from services.lineage.settings import LineageSettings

if __name__ == "__main__":
    run(Lineage, LineageSettings)
