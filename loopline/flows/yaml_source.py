"""YAML of a flow document, read strictly: every value with the line it stands on.

Refused: duplicate keys (YAML keeps the last, silently), anchors and aliases (a small text may stand
for gigabytes), deep nesting, long texts, more than one document.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from loopline.errors import Rejected

MAX_BYTES = 64 * 1024
MAX_DEPTH = 16
Path = tuple[str | int, ...]


class InvalidYaml(Rejected):
    """A text that is not the YAML we read; `ids["line"]` says where, from 1."""


@dataclass(frozen=True)
class Source:
    """A parsed text.

    Args:
        value: Maps, lists and scalars.
        lines: Line (from 1) of every key and list element, by its path.
    """

    value: Any  # what YAML gives is validated by the document's model
    lines: dict[Path, int]

    def line(self, path: Path) -> int:
        """Return the line of `path`, or of the closest thing around it that has one."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read(text: str) -> Source:
    """Parse one YAML document.

    Raises:
        InvalidYaml: It is too long, not YAML, or uses what is refused.
    """
    size_bytes = len(text.encode(errors="replace"))
    if size_bytes > MAX_BYTES:
        raise InvalidYaml(
            f"the document has {size_bytes} bytes; at most {MAX_BYTES} are allowed", line=1
        )
    try:
        return _read(_StrictLoader(text))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise InvalidYaml(f"not YAML: {error.problem or error.context}", line=line) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # ValueError: what looks like a date or a number and is none (2026-13-45).
        raise InvalidYaml(f"not YAML: {str(error)[:200]}", line=1) from error


def _read(loader: _StrictLoader) -> Source:
    node = loader.get_single_node()
    if node is None:
        raise InvalidYaml("the document is empty", line=1)
    lines: dict[Path, int] = {}
    _note_lines(node, (), lines)
    return Source(loader.construct_document(node), lines)


class _StrictLoader(yaml.SafeLoader):
    """A safe loader that refuses aliases and deep nesting while it reads."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose one node; the signature is PyYAML's."""
        line = _line_of(self.peek_event())  # type: ignore[no-untyped-call]
        if self.check_event(yaml.AliasEvent):
            raise InvalidYaml("anchors and aliases are not allowed in a flow", line=line)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise InvalidYaml(f"nested deeper than {MAX_DEPTH} levels", line=line)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _line_of(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _note_lines(node: yaml.Node, path: Path, lines: dict[Path, int]) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            name = str(key.value)
            if not isinstance(key, yaml.ScalarNode):
                raise InvalidYaml("a key must be a plain name", line=line)
            if name in seen:
                raise InvalidYaml(f"the key {name!r} stands here twice", line=line)
            seen.add(name)
            lines[(*path, name)] = line
            _note_lines(value, (*path, name), lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*path, index)] = value.start_mark.line + 1
            _note_lines(value, (*path, index), lines)
