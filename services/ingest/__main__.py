"""Runs ingest: `python -m services.ingest`."""

from __future__ import annotations

from loopline.runtime.service import run
from services.ingest.service import Ingest
from services.ingest.settings import IngestSettings

if __name__ == "__main__":
    run(Ingest, IngestSettings)
