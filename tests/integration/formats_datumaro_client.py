"""Reads labels with Datumaro and prints what it understood; runs in Datumaro's own environment."""

from __future__ import annotations

import json
import sys
from typing import Any

from datumaro import Dataset  # type: ignore[import-not-found]
from datumaro.components.annotation import AnnotationType  # type: ignore[import-not-found]


def told(annotation: Any, names: Any) -> list[Any]:
    """Return an annotation as class, kind and figures: coordinates, or a mask's pixels."""
    is_mask = annotation.type == AnnotationType.mask
    figures = [annotation.image.sum()] if is_mask else annotation.points
    name = names[annotation.label].name
    return [name, annotation.type.name, [round(float(value), 3) for value in figures]]


def main(folder: str, kind: str, subset: str = "") -> None:
    """Print each image with its annotations as a line of JSON."""
    chosen = {"subset": subset} if subset else {}
    dataset = Dataset.import_from(folder, kind, **chosen)
    names = dataset.categories()[AnnotationType.label]
    for item in dataset:
        found = sorted(told(annotation, names) for annotation in item.annotations)
        sys.stdout.write(json.dumps([item.id, item.subset, found]) + "\n")


main(*sys.argv[1:])
