"""Runs as OpenLineage events, for catalogues that speak it (Marquez, DataHub, OpenMetadata).

Spec: https://openlineage.io/spec/2-0-2/OpenLineage.json. A run of ours is a COMPLETE event: only
runs that committed are in the graph. An artefact is a dataset of namespace
`loopline://<workspace>/<kind>`, its version a facet; a customer's storage keeps its own URI.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from loopline import __version__
from loopline.lineage.model import BUCKET, SOURCE

SPEC = "https://openlineage.io/spec/2-0-2/OpenLineage.json"
FACETS = "https://openlineage.io/spec/facets"
PRODUCER = f"urn:loopline:{__version__}"
_NAMESPACE = uuid.UUID("6f1f4f4e-7f57-5c0e-9d0a-0b8f0a4b8f10")
Json = dict[str, Any]  # JSON is a union that no type here narrows


class Artefact(Protocol):
    """What an event says of an artefact."""

    @property
    def kind(self) -> str:
        """Of the graph's kinds."""
        ...

    @property
    def name(self) -> str:
        """Its name or URI."""
        ...

    @property
    def version(self) -> int:
        """0 if it has none."""
        ...

    @property
    def digest(self) -> str:
        """Of its content."""
        ...


def run_event(
    details: Mapping[str, Any],
    figures: Mapping[str, float],
    inputs: Sequence[Artefact],
    outputs: Sequence[Artefact],
    workspace: str,
) -> Json:
    """Return a run as an OpenLineage RunEvent.

    Args:
        details: The run's record (`loopline.lineage.details.run_details`).
        figures: Its figures.
        inputs: What it read.
        outputs: What it made.
        workspace: Where.
    """
    return {
        "eventType": "COMPLETE",
        "eventTime": details["finished_at"] or details["started_at"],
        "producer": PRODUCER,
        "schemaURL": f"{SPEC}#/$defs/RunEvent",
        "run": {
            "runId": str(uuid.uuid5(_NAMESPACE, details["id"])),  # the spec asks for a UUID
            "facets": _run_facets(details, figures),
        },
        "job": {
            "namespace": f"loopline://{workspace}",
            "name": details["kind"],
            "facets": {"jobType": _job_type()},
        },
        "inputs": [_dataset(one, workspace) for one in inputs],
        "outputs": [_dataset(one, workspace) for one in outputs],
    }


def _run_facets(details: Mapping[str, Any], figures: Mapping[str, float]) -> Json:
    environment = details["environment"]
    return {
        "processing_engine": {
            **_facet("1-1-1/ProcessingEngineRunFacet.json#/$defs/ProcessingEngineRunFacet"),
            "name": "loopline",
            "version": environment["loopline"] or __version__,
        },
        # A facet of our own: what makes the run reproducible, as its commit says it.
        "loopline_run": {
            "_producer": PRODUCER,
            "_schemaURL": "urn:loopline:openlineage:run:1",
            **details,
            "figures": dict(figures),
        },
    }


def _job_type() -> Json:
    return {
        **_facet("2-0-3/JobTypeJobFacet.json#/$defs/JobTypeJobFacet"),
        "processingType": "BATCH",
        "integration": "LOOPLINE",
        "jobType": "RUN",
    }


def _dataset(artefact: Artefact, workspace: str) -> Json:
    if artefact.kind in (SOURCE, BUCKET):
        scheme, _, rest = artefact.name.partition("://")
        connection, _, path = rest.partition("/")
        return {"namespace": f"{scheme}://{connection}", "name": path or "/"}
    found: Json = {"namespace": f"loopline://{workspace}/{artefact.kind}", "name": artefact.name}
    version = str(artefact.version) if artefact.version else artefact.digest
    if version:
        schema = "1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet"
        found["facets"] = {"version": {**_facet(schema), "datasetVersion": version}}
    return found


def _facet(schema: str) -> Json:
    return {"_producer": PRODUCER, "_schemaURL": f"{FACETS}/{schema}"}
