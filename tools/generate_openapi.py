"""Generate `services/<name>/openapi.json` for every service that people's programs call over HTTP.

The page's types come from these files. With `--check` nothing is written; the exit status says
whether the committed files are right.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from loopline import __version__
from loopline.store.blobs import MemoryBlobs
from loopline.testing.memory import MemoryBus, memory_service
from tools.written import ROOT, write_or_check


def documents() -> dict[Path, dict[str, Any]]:
    """Return the OpenAPI document of each service, by its file."""
    makers: dict[str, Callable[[], FastAPI]] = {
        "annotate": _annotate,
        "console": _console,
        "lineage": _lineage,
    }
    found = {}
    for name, make in makers.items():
        document = make().openapi()
        document["info"]["version"] = __version__
        found[ROOT / "services" / name / "openapi.json"] = document
    return found


def _annotate() -> FastAPI:
    from services.annotate.service import Annotate
    from services.annotate.settings import AnnotateSettings

    return _api(Annotate, AnnotateSettings())


def _lineage() -> FastAPI:
    from services.lineage.service import Lineage
    from services.lineage.settings import LineageSettings

    return _api(Lineage, LineageSettings())


def _console() -> FastAPI:
    from services.console.service import document_app

    return document_app()


def _api(service_class: Any, settings: Any) -> FastAPI:
    app: FastAPI = memory_service(service_class, settings, MemoryBus(), MemoryBlobs()).api()
    return app


def main() -> int:
    """Write, or check; return the exit status."""
    texts = {
        path: json.dumps(document, indent=1, sort_keys=True) + "\n"
        for path, document in documents().items()
    }
    return write_or_check(texts)


if __name__ == "__main__":
    sys.exit(main())
