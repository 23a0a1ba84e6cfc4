"""Every message as it was serialised when its contract was written still means the same.

A new message gets its golden file by `python -m tests.contract.test_golden`; an existing one is
never
rewritten: a change that breaks it breaks whoever reads old commits.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from loopline.contracts.catalog import EVENTS, Event
from tests.contract.samples import sample

GOLDEN = Path(__file__).parent / "golden"
VERSION = "v1"


def path_of(event: Event[Any]) -> Path:
    return GOLDEN / VERSION / f"{event.message.DESCRIPTOR.name}.json"


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.key)
def test_old_bytes_keep_their_meaning(event: Event[Any]) -> None:
    golden = json.loads(path_of(event).read_text())
    assert golden["type"] == event.type
    message = event.message.FromString(bytes.fromhex(golden["bytes"]))
    assert json_format.MessageToDict(message, preserving_proto_field_name=True) == golden["message"]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.key)
def test_old_json_is_still_understood(event: Event[Any]) -> None:
    golden = json.loads(path_of(event).read_text())
    message = json_format.ParseDict(golden["message"], event.message())
    assert message.SerializeToString(deterministic=True).hex() == golden["bytes"]


def main() -> None:
    for event in EVENTS:
        path = path_of(event)
        if path.exists():
            continue
        message = sample(event.message)
        path.parent.mkdir(parents=True, exist_ok=True)
        golden = {
            "type": event.type,
            "bytes": message.SerializeToString(deterministic=True).hex(),
            "message": json_format.MessageToDict(message, preserving_proto_field_name=True),
        }
        path.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
