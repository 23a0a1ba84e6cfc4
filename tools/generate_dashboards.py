"""Writes Grafana's dashboards from deploy/observability/grafana/dashboards.yaml.

With `--check` nothing is written; the exit status says whether the committed files are right.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from tools.written import ROOT, write_or_check

FOLDER = ROOT / "deploy" / "observability" / "grafana"
COLUMNS = 24
WIDTH = 8
HEIGHTS = {"stat": 4, "timeseries": 8}
PROMETHEUS = {"type": "prometheus", "uid": "${prometheus}"}
Said = Mapping[str, Any]


def document(said: Said) -> dict[str, Any]:
    """Return a dashboard as Grafana has it."""
    return {
        "uid": said["uid"],
        "title": said["title"],
        "tags": ["loopline"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "utc",
        "links": [
            {"type": "dashboards", "title": "Loopline", "tags": ["loopline"], "asDropdown": False}
        ],
        "annotations": {"list": [_alerts()]},
        "templating": {"list": [_source(), *map(_variable, said["variables"])]},
        "panels": [{"id": at, **panel} for at, panel in enumerate(_panels(said["rows"]), 1)],
    }


def _panels(rows: list[Said]) -> Iterator[dict[str, Any]]:
    """Yield headings and panels where they fit, from left to right."""
    top = 0
    for row in rows:
        place = {"x": 0, "y": top, "w": COLUMNS, "h": 1}
        yield {"type": "row", "title": row["title"], "gridPos": place, "panels": []}
        top, left, height = top + 1, 0, 0
        for panel in row["panels"]:
            width, height = panel.get("width", WIDTH), HEIGHTS[panel.get("kind", "timeseries")]
            if left + width > COLUMNS:
                top, left = top + height, 0
            yield _panel(panel) | {"gridPos": {"x": left, "y": top, "w": width, "h": height}}
            left += width
        top += height


def _panel(said: Said) -> dict[str, Any]:
    kind = said.get("kind", "timeseries")
    links = [{"title": "Traces", "url": _explore(said["traces"])}] if "traces" in said else []
    lines = {"tooltip": {"mode": "multi", "sort": "desc"}}
    figure = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
    defaults = {"unit": said.get("unit", "short"), "min": 0, "links": links}
    return {
        "type": kind,
        "title": said["title"],
        "description": said.get("about", ""),
        "datasource": PROMETHEUS,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": lines if kind == "timeseries" else figure,
        "targets": [
            {
                "refId": chr(ord("A") + at),
                "datasource": PROMETHEUS,
                "expr": expression,
                "legendFormat": legend or "__auto",
            }
            for at, (legend, expression) in enumerate(said["lines"].items())
        ],
    }


def _explore(query: str) -> str:
    """Return the address of a search for traces; what Grafana fills in stays as it is."""
    pane = {
        "datasource": "tempo",
        "queries": [{"refId": "A", "queryType": "traceql", "query": query}],
        "range": {"from": "${__from}", "to": "${__to}"},
    }
    text = quote(json.dumps({"a": pane}), safe="${}_.")
    return f"/explore?schemaVersion=1&panes={text}"


def _alerts() -> dict[str, Any]:
    return {
        "name": "Alerts",
        "enable": True,
        "datasource": PROMETHEUS,
        "expr": 'ALERTS{alertstate="firing"}',
        "titleFormat": "{{alertname}}",
        "iconColor": "red",
    }


def _source() -> dict[str, Any]:
    return {"name": "prometheus", "type": "datasource", "query": "prometheus", "label": "Source"}


def _variable(said: Said) -> dict[str, Any]:
    label = said["label"]
    query = f"label_values({said['of']}, {label})"
    return {
        "name": label,
        "type": "query",
        "datasource": PROMETHEUS,
        "definition": query,
        "query": {"query": query, "refId": "values"},
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
        "sort": 1,
    }


def generated() -> dict[Path, str]:
    """Return every file with its text."""
    said = yaml.safe_load((FOLDER / "dashboards.yaml").read_text())
    return {
        FOLDER / "dashboards" / f"{each['uid'].removeprefix('loopline-')}.json": json.dumps(
            document(each), indent=1
        )
        + "\n"
        for each in said
    }


def main() -> int:
    """Write, or check; return the exit status."""
    return write_or_check(generated())


if __name__ == "__main__":
    sys.exit(main())
