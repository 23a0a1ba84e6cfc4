"""Writes the consumers that KEDA looks at into the Helm chart, from the catalog.

A chart knows neither workspace nor pool; both stay open: `{workspace}_ingest_join_import_{pool}`.
With `--check` nothing is written; the exit status says whether the committed file is right.
"""

from __future__ import annotations

import sys

import yaml

from loopline.contracts.catalog import EVENTS, SEND_NOTIFICATION, SERVICES
from tools.written import ROOT, write_or_check

FILE = ROOT / "deploy" / "helm" / "loopline" / "files" / "consumers.yaml"
NO_WORK = (SEND_NOTIFICATION,)
"""A receiver that does not answer keeps its message in flight for days: no reason to start more."""
HEAD = "# Written by `python -m tools.generate_consumers` from loopline/contracts/catalog.py.\n"


def consumers() -> dict[str, list[dict[str, str]]]:
    """Return the stream and name of every durable, by the service that takes its messages."""
    return {
        service: [
            {
                "stream": str(event.stream),
                "consumer": event.durable_name(service, "{workspace}", "{pool}"),
            }
            for event in EVENTS
            if event not in NO_WORK
            for durable in event.durables
            if durable.service == service
        ]
        for service in SERVICES
    }


def main() -> int:
    """Write, or check; return the exit status."""
    text = HEAD + yaml.safe_dump({"consumers": consumers()}, sort_keys=False)
    return write_or_check({FILE: text})


if __name__ == "__main__":
    sys.exit(main())
