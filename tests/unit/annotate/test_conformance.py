"""The API keeps to its OpenAPI document, whatever it is asked: schemathesis asks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack
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

from loopline.store.objects import Area
from tests.unit.annotate.desk import TOKEN, Desk, running_desk
from tests.unit.annotate.test_access import DOCUMENT
from tests.unit.annotate.test_assist import photo

CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
EXAMPLES = 8  # of each operation
schema = schemathesis.openapi.from_dict(DOCUMENT)


async def populated(stack: AsyncExitStack, folder: Any) -> Desk:
    desk = await stack.enter_async_context(running_desk(folder))
    await desk.open(await desk.command(4, review=True))
    await desk.label(0)
    await desk.service.objects.put(Area.ASSETS, photo())
    return desk


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an annotate in a thread of its own: schemathesis asks from this one."""
    loop, stack = asyncio.new_event_loop(), AsyncExitStack()
    thread = threading.Thread(target=loop.run_forever, name="annotate")
    thread.start()
    folder = tmp_path_factory.mktemp("annotate")
    made = asyncio.run_coroutine_threadsafe(populated(stack, folder), loop)
    yield str(made.result(30).client.base_url)
    asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(30)
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
    case: schemathesis.Case[Any], served: str
) -> None:
    case.call_and_validate(
        base_url=served,
        headers={"authorization": f"Bearer {TOKEN}"},
        checks=CHECKS,
        timeout=20,
        allow_redirects=False,
    )
