"""Generate docs/events.md, docs/asyncapi.json and the tables in the services' READMEs.

All of it is read from the catalog and from the handlers that services mark, so it cannot drift.
With `--check` nothing is written; the exit status says whether the committed files are right.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import jsonschema

from loopline import __version__
from loopline.contracts import catalog
from loopline.contracts.catalog import EVENTS, SERVICES, Event, Stream
from loopline.runtime.service import Service
from tools.protoschema import comments, message_schema
from tools.written import ROOT, write_or_check

ASYNCAPI_SCHEMA = ROOT / "tools/node_modules/@asyncapi/specs/schemas/3.0.0-without-$id.json"
MARKER = re.compile(r"(<!-- events -->\n).*?(<!-- /events -->)", re.DOTALL)
INTRODUCTION = """# Events

<!-- Generated from loopline/contracts/catalog.py and the services' handlers: `make docs`. -->

Every message on the bus is a CloudEvent 1.0 over NATS. In binary mode its attributes are the
headers `ce-specversion`, `ce-id`, `ce-source`, `ce-type`, and the body is protobuf (`content-type:
application/protobuf`) or the protobuf JSON mapping (`application/json`). In structured mode
(`application/cloudevents+json`) the body is the whole event. W3C `traceparent` travels along. A
message has at most {limit} bytes.

`{{workspace}}` is `default` unless you say otherwise, and so is `{{pool}}`.
"""
STREAMS = {
    Stream.COMMITS: "Commits: kept for ever, nothing can be deleted.",
    Stream.EVENTS: "Progress and statistics: aged out after 30 days.",
    Stream.WORK: "Commands and chunks: a work queue.",
    Stream.RELABEL: "Labeling jobs to open: a work queue.",
    Stream.DEAD: "What was rejected or exhausted its deliveries, with the reason.",
}


@lru_cache
def service_class(name: str) -> type[Service]:
    """Return the class of a service."""
    module = importlib.import_module(f"services.{name}.service")
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Service)
        and value.__module__ == module.__name__
    ]
    (only,) = found
    return only


def handlers(event: Event[Any]) -> list[tuple[str, str]]:
    """Return (service, method) of every handler of an event; fails if the catalog disagrees."""
    found = []
    for name in SERVICES:
        cls = service_class(name)
        marked = {**cls.reactions(), **{m: e for m, (e, _) in cls.works().items()}}
        found += [(name, method) for method, e in marked.items() if e is event]
    declared = {durable.service for durable in event.durables}
    if {service for service, _ in found} != declared:
        raise SystemExit(f"{event.key}: the catalog says {sorted(declared)}, handlers are {found}")
    return found


def events_page() -> str:
    """Return docs/events.md."""
    parts = [INTRODUCTION.format(limit=f"{catalog.MAX_EVENT_BYTES:,}")]
    for stream, about in STREAMS.items():
        if stream == Stream.DEAD:
            parts += [f"## {stream}", "", about, "", f"Subject: `{catalog.DEAD_WILDCARD}`.", ""]
            continue
        parts += [f"## {stream}", "", about, ""]
        for event in (e for e in EVENTS if e.stream == stream):
            parts += _event_section(event)
    return "\n".join(parts)


def _event_section(event: Event[Any]) -> list[str]:
    consumers = [f"`{service}.{method}`" for service, method in handlers(event)]
    lines = [
        f"### {event.message.DESCRIPTOR.name}",
        "",
        event.about,
        "",
        f"- subject: `{event.template}`",
        f"- type: `{event.type}`",
        f"- published by: {', '.join(event.publishers)}",
        f"- handled by: {', '.join(consumers) or 'whoever reads the stream'}",
        "",
        "| field | type | meaning |",
        "|---|---|---|",
    ]
    told = comments(event.message.DESCRIPTOR)
    lines += [
        f"| `{field.name}` | {_type(field)} | {told.get(field.name, '')} |"
        for field in event.message.DESCRIPTOR.fields
    ]
    return [*lines, ""]


def _type(field: Any) -> str:  # a protobuf FieldDescriptor, untyped in its stubs
    kind = field.message_type or field.enum_type
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        entry = field.message_type.fields_by_name
        return f"map of {_type(entry['key'])} to {_type(entry['value'])}"
    names = {1: "double", 2: "float", 3: "int64", 4: "uint64", 5: "int32", 8: "bool", 9: "string"}
    names |= {12: "bytes", 13: "uint32"}
    name = kind.name if kind is not None else names.get(field.type, str(field.type))
    return f"{name}[]" if field.is_repeated else name


def asyncapi() -> dict[str, Any]:
    """Return the AsyncAPI 3.0 document."""
    schemas: dict[str, Any] = {}
    channels, operations, messages = {}, {}, {}
    for event in EVENTS:
        name = event.message.DESCRIPTOR.name
        messages[name] = {
            "name": event.type,
            "title": name,
            "summary": event.about,
            "contentType": "application/protobuf",
            "payload": message_schema(event.message.DESCRIPTOR, schemas),
        }
        channels[event.key] = {
            "address": event.template,
            "description": event.about,
            "messages": {name: {"$ref": f"#/components/messages/{name}"}},
            "parameters": {token: {"description": f"The {token}."} for token in event.tokens},
        }
        channel = {"$ref": f"#/channels/{event.key}"}
        for service, method in handlers(event):
            operations[f"{service}.{method}"] = {"action": "receive", "channel": channel}
        for publisher in event.publishers:
            operations[f"{publisher}.publish.{event.key}"] = {"action": "send", "channel": channel}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Loopline",
            "version": __version__,
            "description": "Every event and command of the platform. Generated from the catalog.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/protobuf",
        "servers": {"nats": {"host": "127.0.0.1:4222", "protocol": "nats"}},
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    }


def service_table(name: str) -> str:
    """Return the table of what a service consumes and emits."""
    lines = ["| | event | subject |", "|---|---|---|"]
    for event in EVENTS:
        for service, method in handlers(event):
            if service == name:
                lines.append(f"| consumes, `{method}` | {_name(event)} | `{event.template}` |")
    lines += [f"| emits | {_name(e)} | `{e.template}` |" for e in EVENTS if name in e.publishers]
    return "\n".join(lines) + "\n"


def _name(event: Event[Any]) -> str:
    name = event.message.DESCRIPTOR.name
    return f"[{name}](../../docs/events.md#{name.lower()})"


def generated() -> dict[Path, str]:
    """Return every generated file with its text."""
    document = asyncapi()
    jsonschema.validate(document, json.loads(ASYNCAPI_SCHEMA.read_text()))
    files = {
        ROOT / "docs/events.md": events_page(),
        ROOT / "docs/asyncapi.json": json.dumps(document, indent=1) + "\n",
    }
    for name in SERVICES:
        readme = ROOT / "services" / name / "README.md"
        text = readme.read_text()
        if not MARKER.search(text):
            raise SystemExit(f"{readme.relative_to(ROOT)} lacks <!-- events --> <!-- /events -->")
        table = service_table(name)
        files[readme] = MARKER.sub(lambda m, t=table: m[1] + t + m[2], text)  # type: ignore[misc]
    return files


def main() -> int:
    """Write, or check; return the exit status."""
    return write_or_check(generated())


if __name__ == "__main__":
    sys.exit(main())
