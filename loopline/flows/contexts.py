"""The documented fields that rules see, kind of rule by kind of rule.

THE table: what is not here is refused when a flow is put, docs/flows.md is checked against it, and
the examples are the context on which a new rule is tried. Building a context from commits and rows
is in `observations`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Value = Any  # what CEL computes with: bool, int, float, str, lists and maps of these
Context = Mapping[str, Value]


class Kind(StrEnum):
    """The kinds of rules, by what they look at."""

    TRAIN = "train"
    PROMOTE = "promote"
    APPLY = "apply"
    ROUTE = "route"
    SAMPLE = "sample"


@dataclass(frozen=True, slots=True)
class Field:
    """A documented field.

    Args:
        type: Its CEL type, for people.
        about: One sentence.
        example: A value of it; empty for a structure, whose example is that of its fields.
        fields: The fields of a structure; empty otherwise.
        open: Whether it is a map that takes any key.
        counters: Whether it is a map where an absent key reads as 0.
        each: The fields of each value of a map of structures; empty otherwise.
    """

    type: str
    about: str
    example: Value = None
    fields: Mapping[str, Field] = field(default_factory=dict)
    open: bool = False
    counters: bool = False
    each: Mapping[str, Field] = field(default_factory=dict)


def example(fields: Mapping[str, Field]) -> dict[str, Value]:
    """Return the context made of the examples of `fields`."""
    return {name: example(f.fields) if f.fields else f.example for name, f in fields.items()}


_DIGEST = "9f2c" * 16
_NAME_VERSION_DIGEST = {
    "name": Field("string", "Its name.", "catalogue"),
    "version": Field("int", "Its version, from 1.", 3),
    "digest": Field("string", "Its content digest, 64 hex digits.", _DIGEST),
}
_SHAPE = {
    "class_name": "shirt",
    "confidence": 0.91,
    "geometry": "box",
    "bbox_xyxy": [2.0, 3.0, 20.0, 25.0],
}

DATASET = Field(
    "structure",
    "The dataset version that was committed.",
    fields={
        **_NAME_VERSION_DIGEST,
        "statistics": Field(
            "map<string, int>",
            "Counters over its items: `items`, `labeled`, `split:<split>`, `labeled:<split>`, "
            "`class:<class>`. One that is absent reads as 0.",
            {"items": 6000, "labeled": 3000, "labeled:train": 1500, "class:shirt": 300},
            open=True,
            counters=True,
        ),
        "changes": Field(
            "map<string, int>",
            "What changed from its parent: `added`, `changed`, `removed`, `labels_changed`. "
            "One that is absent reads as 0.",
            {"added": 0, "changed": 1000, "removed": 0, "labels_changed": 1000},
            open=True,
            counters=True,
        ),
        "classes": Field("list<string>", "Classes that items may carry.", ["coat", "shirt"]),
        "tags": Field(
            "map<string, int>", "Tags of the dataset: tag to version.", {"v1": 1}, open=True
        ),
        "test_split_digest": Field(
            "string", "Digest of the frozen test split; empty if there is none.", _DIGEST
        ),
    },
)

_MODEL_VERSION = {
    **_NAME_VERSION_DIGEST,
    "recipe": Field("string", "The recipe that trained it.", "classification"),
    "task": Field("string", "`classification`, `detection` or `segmentation`.", "classification"),
    "classes": Field("list<string>", "Its classes, in the order of its output.", ["coat", "shirt"]),
}
_EVALUATED = {
    **_MODEL_VERSION,
    "count": Field("int", "Items of the test split it was evaluated on.", 1500),
    "metrics": Field(
        "map<string, double>",
        "Its figures on the frozen test split: `accuracy`, `macro_f1`, `calibration_error`, "
        "`f1:<class>`, ... as its recipe reports them. Asking for one that is absent declines.",
        {"accuracy": 0.87, "macro_f1": 0.86, "f1:shirt": 0.7, "map50": 0.8},
        open=True,
    ),
}

_DIFFERENCE = {
    "difference": Field("double", "The candidate's figure minus the champion's.", 0.021),
    "low": Field("double", "Lower end of the 95% interval of the difference.", 0.004),
    "high": Field("double", "Upper end of it.", 0.038),
    "better": Field("double", "Share of the resamples in which the candidate is better.", 0.99),
}
COMPARISON = Field(
    "map<string, structure>",
    "The candidate against the champion, image by image of the frozen split: for `accuracy`, "
    "`macro_f1`, `map`, `map50`, `mean_iou`, ... the fields `difference` (candidate minus "
    "champion), `low` and `high` (ends of its 95% interval, by a paired bootstrap), `better` "
    "(share of resamples in which the candidate is better). Empty while `has_champion` is false.",
    {
        name: {part: inner.example for part, inner in _DIFFERENCE.items()}
        for name in ("accuracy", "macro_f1", "map", "map50", "mean_iou")
    },
    open=True,
    each=_DIFFERENCE,
)

ITEM = Field(
    "structure",
    "An item of the dataset.",
    fields={
        "asset": Field("string", "sha256 of the image file: the item's id.", _DIGEST),
        "source": Field("string", "URI it came from.", "s3://customer/photos/0001.png"),
        "file_name": Field("string", "Last part of that URI, decoded.", "0001.png"),
        "media_type": Field("string", "Its media type.", "image/png"),
        "size_bytes": Field("int", "Size of the file.", 512),
        "width_px": Field("int", "Width of the decoded image.", 28),
        "height_px": Field("int", "Height of the decoded image.", 28),
        "split": Field("string", "`train`, `val`, `test`, or empty.", "train"),
        "tags": Field("list<string>", "Its tags.", ["autumn"]),
        "labeled": Field("bool", "Whether people (or an import) labeled it.", False),
        "classes": Field(
            "list<string>", "Class names of its annotations, sorted, each once.", ["shirt"]
        ),
        "parent": Field("string", "Asset it was derived from; empty if none.", ""),
    },
)

PREDICTION = Field(
    "structure",
    "What the model says of the item.",
    fields={
        "class_name": Field(
            "string", "The class it is surest of; empty if it found nothing.", "shirt"
        ),
        "confidence": Field(
            "double",
            "In [0, 1]. Classification: the best score. Detection and segmentation: that of the "
            "least sure shape the model found, 1 less the best doubtful one where it found none.",
            0.91,
        ),
        "count": Field("int", "How many shapes the model found.", 1),
        "classes": Field(
            "list<string>", "Class names of these shapes, sorted, each once.", ["shirt"]
        ),
        "doubt": Field(
            "double",
            "The best score of a shape that is too doubtful to count; 0 without one, and always "
            "for classification.",
            0.2,
        ),
        "margin": Field(
            "double",
            "Best score minus second best; the confidence itself where there are no scores.",
            0.85,
        ),
        "scores": Field(
            "map<string, double>",
            "Score per class, for classification; empty for detection.",
            {"shirt": 0.91, "coat": 0.06},
            open=True,
        ),
        "shapes": Field(
            "list<structure>",
            "Every shape the model found: `class_name`, `confidence`, `geometry` (`image`, `box`, "
            "`polygon` or `mask`), `bbox_xyxy` (four numbers, px; empty where there is no box).",
            [_SHAPE],
        ),
    },
)

FIELDS: Mapping[Kind, Mapping[str, Field]] = {
    Kind.TRAIN: {"dataset": DATASET},
    Kind.PROMOTE: {
        "candidate": Field("structure", "The model version that was committed.", fields=_EVALUATED),
        "has_champion": Field("bool", "Whether the alias points to a version yet.", True),
        "champion": Field(
            "structure",
            "The version the alias points to; without fields while `has_champion` is false.",
            fields=_EVALUATED,
        ),
        "comparison": COMPARISON,
    },
    Kind.APPLY: {"item": ITEM},
    Kind.ROUTE: {
        "prediction": PREDICTION,
        "item": ITEM,
        "model": Field("structure", "The model version that predicted.", fields=_MODEL_VERSION),
        "dataset": Field(
            "structure", "The dataset version it was applied to.", fields=_NAME_VERSION_DIGEST
        ),
    },
    Kind.SAMPLE: {
        "prediction": PREDICTION,
        "model": Field("structure", "The model version that answered.", fields=_MODEL_VERSION),
    },
}
"""What the rules of each kind see."""
