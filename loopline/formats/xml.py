"""Reading XML of unknown origin, and writing it as a stream.

The standard library's parser resolves no external entities, and expat bounds what internal ones may
grow to; a document type is refused all the same, for no format of ours has one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element, ParseError
from xml.sax.saxutils import escape, quoteattr

from loopline.formats.labeled import BadLabels

__all__ = ["Element", "Writer", "elements", "number", "root"]

_HEAD_BYTES = 4_096
_ESCAPED = re.compile('[&<>"\n\r\t]')  # by quoteattr


def root(path: Path) -> Element:
    """Return the root of a small document.

    Raises:
        BadLabels: It is not XML, or declares a document type.
    """
    with path.open("rb") as source:
        _refuse_doctype(path, source)
        try:
            return ET.parse(source).getroot()  # noqa: S314 - see the module
        except ParseError as error:
            raise BadLabels(f"{path.name} is not XML: {error}") from error


def elements(path: Path, tag: str) -> Iterator[Element]:
    """Yield the elements with a tag one by one; each is let go of afterwards.

    Raises:
        BadLabels: It is not XML, or declares a document type.
    """
    with path.open("rb") as source:
        _refuse_doctype(path, source)
        try:
            events = ET.iterparse(source, events=("start", "end"))  # noqa: S314 - see above
            _, top = next(events)
            for event, element in events:
                if event == "end" and element.tag == tag:
                    yield element
                    top.clear()
        except ParseError as error:
            raise BadLabels(f"{path.name} is not XML: {error}") from error


def number(element: Element, name: str) -> float:
    """Return an attribute, or the text of a child, as a number.

    Raises:
        ValueError: It is not there, or is no number.
    """
    text = element.get(name)
    if text is None:
        text = element.findtext(name)
    if text is None:
        raise ValueError(f"{element.tag} has no {name}")
    return float(text)


def _refuse_doctype(path: Path, source: IO[bytes]) -> None:
    head = source.read(_HEAD_BYTES)
    source.seek(0)
    if b"<!DOCTYPE" in head.upper() or b"<!ENTITY" in head.upper():
        raise BadLabels(f"{path.name} declares a document type: that is refused")


class Writer:
    """Writes elements as they come.

    Args:
        target: Text file.
    """

    def __init__(self, target: IO[str]) -> None:
        self._target = target
        self._open: list[str] = []
        target.write('<?xml version="1.0" encoding="utf-8"?>\n')

    def start(self, tag: str, attributes: Mapping[str, object] | None = None) -> None:
        """Open an element."""
        self._target.write(f"{self._indent}<{tag}{_attributes(attributes)}>\n")
        self._open.append(tag)

    def end(self) -> None:
        """Close the element that was opened last."""
        tag = self._open.pop()
        self._target.write(f"{self._indent}</{tag}>\n")

    def leaf(
        self, tag: str, text: object = None, attributes: Mapping[str, object] | None = None
    ) -> None:
        """Write an element with text, or an empty one."""
        start = f"{self._indent}<{tag}{_attributes(attributes)}"
        end = "/>\n" if text is None else f">{escape(str(text))}</{tag}>\n"
        self._target.write(start + end)

    @property
    def _indent(self) -> str:
        return "  " * len(self._open)


def _attributes(attributes: Mapping[str, object] | None) -> str:
    return "".join(f" {k}={_quoted(str(v))}" for k, v in (attributes or {}).items())


def _quoted(text: str) -> str:
    """Return an attribute's value in quotes; most are numbers, in which nothing is to escape."""
    return quoteattr(text) if _ESCAPED.search(text) else f'"{text}"'
