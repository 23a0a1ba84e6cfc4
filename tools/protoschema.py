"""Protobuf messages as JSON Schema, with the comments of their .proto files."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

PROTO = Path(__file__).resolve().parent.parent / "proto"
WELL_KNOWN: dict[str, dict[str, Any]] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Struct": {"type": "object"},
}
_INTEGERS = {3, 4, 5, 13}
_FIELD = re.compile(
    r"((?:^\s*//.*\n)+)^\s*(?:repeated |optional |map<[^>]+> )?[\w.<>, ]*?(\w+) = \d+", re.MULTILINE
)


def message_schema(descriptor: Descriptor, schemas: dict[str, Any]) -> dict[str, Any]:
    """Return a reference to the schema of a message.

    And put it and what it holds into `schemas`.
    """
    if descriptor.full_name in WELL_KNOWN:
        return WELL_KNOWN[descriptor.full_name]
    name = descriptor.full_name
    if name not in schemas:
        schemas[name] = {
            "type": "object",
            "properties": {},
        }  # first, for messages that hold themselves
        told = comments(descriptor)
        for field in descriptor.fields:
            schema = _field_schema(field, schemas)
            if "$ref" not in schema and field.name in told:
                schema = {**schema, "description": told[field.name]}
            schemas[name]["properties"][field.json_name] = schema
    return {"$ref": f"#/components/schemas/{name}"}


def _field_schema(field: FieldDescriptor, schemas: dict[str, Any]) -> dict[str, Any]:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        value = field.message_type.fields_by_name["value"]
        return {"type": "object", "additionalProperties": _field_schema(value, schemas)}
    schema = _value_schema(field, schemas)
    return {"type": "array", "items": schema} if field.is_repeated else schema


def _value_schema(field: FieldDescriptor, schemas: dict[str, Any]) -> dict[str, Any]:
    if field.message_type is not None:
        return message_schema(field.message_type, schemas)
    if field.enum_type is not None:
        return {"type": "string", "enum": [value.name for value in field.enum_type.values]}
    if field.type in _INTEGERS:
        return {"type": "integer"}
    if field.type == FieldDescriptor.TYPE_BOOL:
        return {"type": "boolean"}
    if field.type in (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT):
        return {"type": "number"}
    return {"type": "string"}


@lru_cache
def comments(descriptor: Descriptor) -> dict[str, str]:
    """Return the comment of every field of a message, by field name."""
    text = (PROTO / descriptor.file.name).read_text()
    found = re.search(rf"^message {descriptor.name} \{{\n(.*?)^\}}", text, re.MULTILINE | re.DOTALL)
    body = found[1] if found else ""
    return {
        name: " ".join(
            line.strip().removeprefix("//").strip() for line in lines.strip().splitlines()
        )
        for lines, name in _FIELD.findall(body)
    }
