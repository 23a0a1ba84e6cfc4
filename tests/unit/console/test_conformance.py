"""The API keeps to its OpenAPI document, whatever it is asked: schemathesis asks."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
)

from loopline.store.blobs import MemoryBlobs
from loopline.testing.flywheel import item
from tests.unit.console.desk import Desk

DOCUMENT = json.loads(
    (Path(__file__).parents[3] / "services" / "console" / "openapi.json").read_text()
)
NEVER_ENDS = "/api/events"
CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
EXAMPLES = 8  # of each operation
# No configuration of whoever runs this is looked for.
schema = schemathesis.openapi.from_dict(DOCUMENT).exclude(path=NEVER_ENDS)


@dataclass(frozen=True)
class Served:
    """A console in a thread of its own: schemathesis asks from this one."""

    url: str
    loop: asyncio.AbstractEventLoop


async def populated(folder: Path) -> Desk:
    desk = await Desk(folder, {"uploads_bucket": ""}).start()
    desk.service.desks.imports._bucket = MemoryBlobs()
    await desk.flywheel.dataset("shoes", [item(n, labeled=True) for n in range(4)])
    await desk.flywheel.alias(await desk.flywheel.model("shoes", "w1", {"accuracy": 0.8}))
    await desk.seen()
    return desk


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="console")
    thread.start()
    folder = tmp_path_factory.mktemp("console")
    desk = asyncio.run_coroutine_threadsafe(populated(folder), loop).result(30)
    yield Served(desk.url, loop)
    asyncio.run_coroutine_threadsafe(desk.stop(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_every_operation_answers_what_the_document_says(
    case: schemathesis.Case[Any], served: Served
) -> None:
    case.call_and_validate(
        base_url=served.url,
        headers={"authorization": "Bearer machine"},
        checks=CHECKS,
        timeout=20,
        allow_redirects=False,
    )
