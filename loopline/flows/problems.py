"""What is wrong with a flow document, in words that name the field and the line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from loopline.errors import Rejected
from loopline.flows.rules import suggestion
from loopline.flows.yaml_source import Path, Source


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Args:
        place: The field: "route[0].when"; empty for the document.
        line: Its line, from 1.
        reason: One sentence.
    """

    place: str
    line: int
    reason: str

    @staticmethod
    def at(path: Path, reason: str, source: Source) -> Problem:
        """Return the problem of the field at `path`."""
        return Problem(_place(path), source.line(path), reason)

    def __str__(self) -> str:
        place = f", {self.place}" if self.place else ""
        return f"line {self.line}{place}: {self.reason}"


class InvalidFlow(Rejected):
    """A flow document that is refused.

    Args:
        problems: Everything that is wrong with it, in the order of the document.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.line, p.place)))
        super().__init__(
            "the flow is refused: " + "; ".join(map(str, self.problems)),
            problems=[str(p) for p in self.problems],
        )


def problems_of(error: ValidationError, model: type[BaseModel], source: Source) -> list[Problem]:
    """Return what pydantic found, in our words."""
    return [Problem.at(e["loc"], _reason(e, model), source) for e in error.errors()]


def _place(path: Path) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return "".join(parts).lstrip(".")


def _reason(error: ErrorDetails, model: type[BaseModel]) -> str:
    kind = error["type"]
    if kind == "extra_forbidden":
        known = _known_fields(error["loc"], model)
        return f"unknown field; {suggestion(str(error['loc'][-1]), known)}"
    if kind == "missing":
        return "this field is needed"
    if kind == "model_type":
        return "fields are needed here, as `name: value`"
    if kind == "tuple_type":
        return "a list is needed here"
    if kind == "value_error":
        return str(error["ctx"]["error"])
    reason = error["msg"][0].lower() + error["msg"][1:]
    shown = repr(error["input"])
    return f"{reason}, not {shown}" if len(shown) < 80 else reason


def _known_fields(path: Path, model: type[BaseModel]) -> list[str]:
    """Return the names of the fields of the part that holds `path`."""
    part: Any = model
    for name in path[:-1]:
        if isinstance(name, str):
            part = _field_type(part, name)
    return [field.alias or name for name, field in part.model_fields.items()]


def _field_type(part: type[BaseModel], name: str) -> type[BaseModel]:
    """Return the model inside a field: of `tuple[X, ...]`, `X | None` or `X`."""
    annotation = part.model_fields[name].annotation
    for inner in (annotation, *get_args(annotation)):
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            return inner
    raise TypeError(f"{part.__name__}.{name} holds no part of a document")
