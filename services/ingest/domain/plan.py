"""A planned import, and what its slices found: as data, and as the JSON objects that hold it.

The plan is a small object that names its slices, each an object of its own: a worker reads its
slice and not the list of a million keys. Equal plans are equal bytes.

What there is one of per object is a named tuple: as a frozen dataclass it would take three times as
long to make, which is a tenth of the import of a small image.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

import orjson

from loopline.digests import canonical_json, digest_of
from loopline.vision.perceptual import THUMBPRINT_BYTES
from services.ingest.domain.checks import Rules
from services.ingest.domain.drops import Drop, Reason
from services.ingest.domain.labels import KnownLabels, KnownShape, LabelProblem
from services.ingest.domain.request import Request
from services.ingest.domain.splits import Shares

Document = dict[str, Any]  # JSON is a union that no type here narrows


class Listed(NamedTuple):
    """An object as it was listed."""

    key: str
    etag: str
    size_bytes: int


class Entry(NamedTuple):
    """An object to fetch, and what is known of it."""

    listed: Listed
    labels: KnownLabels | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that the slices and the join have to know.

    Args:
        run_id: The run's key.
        request: What is asked.
        began_at: When work on it began, RFC 3339.
        objects: How many objects were listed.
        slice_objects: How many of them are in each slice but the last.
        slices: Object digests of the slices, in order.
        problems: Rows of the labels that make no sense.
        test_is_given: The labels name a test split.
        listing_digest: Digest over keys, etags and sizes.
        labels_digest: sha256 of the labels, or "".
    """

    run_id: str
    request: Request
    began_at: str
    objects: int
    slice_objects: int
    slices: tuple[str, ...]
    problems: tuple[LabelProblem, ...]
    test_is_given: bool
    listing_digest: str
    labels_digest: str

    @property
    def uri(self) -> str:
        """Where the images are, for people and the graph."""
        return self.uri_of(self.request.prefix)

    @property
    def work_id(self) -> str:
        """Names the slices: a second plan of the same run may be cut otherwise."""
        return digest_of([self.run_id, list(self.slices)])

    def uri_of(self, key: str) -> str:
        """Return the URI of an object."""
        return source_uri(self.request.connection, self.request.bucket, key)

    def objects_through(self, index: int) -> int:
        """Return how many objects are in the slices up to and with `index`."""
        return min((index + 1) * self.slice_objects, self.objects)

    def encode(self) -> bytes:
        """Return the plan as canonical JSON."""
        return canonical_json(asdict(self))

    @classmethod
    def decode(cls, data: bytes) -> Plan:
        """Return the plan that `encode` wrote."""
        document: Document = orjson.loads(data)
        request: Document = document["request"]
        parsed = {
            "rules": Rules(**request["rules"]),
            "shares": Shares(**request["shares"]),
            "classes": tuple(request["classes"]),
            "actor": tuple(request["actor"]),
        }
        return cls(
            **document
            | {
                "request": Request(**request | parsed),
                "slices": tuple(document["slices"]),
                "problems": tuple(LabelProblem(**problem) for problem in document["problems"]),
            }
        )


class Arrival(NamedTuple):
    """An image that passed the checks and is stored.

    Args:
        key: Of the object it came in.
        asset: sha256 of its bytes.
        media_type: "image/png", ...
        size_bytes: Of its bytes.
        width_px: Upright.
        height_px: Upright.
        phash: Its perceptual hash.
        thumbprint: Its 784 bytes.
        labels: What is known of it.
    """

    key: str
    asset: str
    media_type: str
    size_bytes: int
    width_px: int
    height_px: int
    phash: int
    thumbprint: bytes
    labels: KnownLabels | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """What became of the objects of a slice, or of all."""

    arrivals: tuple[Arrival, ...]
    drops: tuple[Drop, ...]


def source_uri(connection: str, bucket: str, key: str) -> str:
    """Return the URI of a customer's object or prefix; the connection stands for the host."""
    return f"s3://{connection}/{bucket}/{quote(key)}"


def slices(entries: Sequence[Entry], size: int) -> list[tuple[Entry, ...]]:
    """Cut the entries into slices."""
    return [tuple(entries[start : start + size]) for start in range(0, len(entries), size)]


def encode_slice(entries: Iterable[Entry]) -> bytes:
    """Return a slice as canonical JSON."""
    return canonical_json(
        [
            [
                entry.listed.key,
                entry.listed.etag,
                entry.listed.size_bytes,
                _labels_document(entry.labels),
            ]
            for entry in entries
        ]
    )


def decode_slice(data: bytes) -> list[Entry]:
    """Return the entries that `encode_slice` wrote."""
    return [
        Entry(Listed(key, etag, size), _labels(labels))
        for key, etag, size, labels in orjson.loads(data)
    ]


def encode_findings(findings: Findings) -> bytes:
    """Return what a slice found: a line of canonical JSON, then the thumbprints end to end."""
    document = {
        "arrivals": [(*a[:7], _labels_document(a.labels)) for a in findings.arrivals],
        "drops": [[d.key, d.reason, d.detail, d.repeats, d.picture] for d in findings.drops],
    }
    thumbprints = [arrival.thumbprint for arrival in findings.arrivals]
    return b"\n".join([canonical_json(document), b"".join(thumbprints)])


def decode_findings(data: bytes) -> Findings:
    """Return what `encode_findings` wrote."""
    line, _, thumbprints = data.partition(b"\n")
    document: Document = orjson.loads(line)
    starts = range(0, len(thumbprints), THUMBPRINT_BYTES)
    return Findings(
        tuple(
            Arrival._make((*fields, thumbprints[at : at + THUMBPRINT_BYTES], _labels(labels)))
            for (*fields, labels), at in zip(document["arrivals"], starts, strict=True)
        ),
        tuple(
            Drop(key, Reason(reason), detail, repeats, picture)
            for key, reason, detail, repeats, picture in document["drops"]
        ),
    )


def _labels_document(labels: KnownLabels | None) -> list[Any] | None:
    if labels is None:
        return None
    shapes = [
        [s.class_name, s.bbox_xyxy, s.line, s.polygon, s.mask_rle][: 5 if s.drawn else 3]
        for s in labels.shapes
    ]
    return [shapes, labels.split, labels.complete, labels.nothing, labels.tags]


def _labels(document: list[Any] | None) -> KnownLabels | None:
    if document is None:
        return None
    shapes, split, complete, nothing, tags = document
    return KnownLabels(
        tuple(_shape(*shape) for shape in shapes), split, complete, nothing, tuple(tags)
    )


def _shape(
    name: str,
    box: list[float] | None,
    line: int,
    polygon: list[float] | None = None,
    mask_rle: str | None = None,
) -> KnownShape:
    xyxy = None if box is None else (box[0], box[1], box[2], box[3])
    return KnownShape(name, xyxy, line, tuple(polygon) if polygon else None, mask_rle)
