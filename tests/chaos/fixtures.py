"""A pytest plugin: the worlds, each told once a session, all at the same time.

`undisturbed` is told without accidents, and once more; the others are compared with it. Only the
worlds that a collected test asks for are told. They wait more than they work, so that together they
take hardly longer than one.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.chaos.receivers import SpanOf
    from tests.chaos.world import Told

TRACE_ID = "5ca1ab1e" * 4
TRACEPARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
SEED = 7


@pytest.hookimpl(trylast=True)  # after the order was drawn
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that ask for worlds first and together.

    Where several processes run the tests, each gets a row of them: one process gets all of these,
    and each world is told once.
    """
    items.sort(key=lambda item: _worlds.__name__ not in getattr(item, "fixturenames", ()))


@dataclass(frozen=True)
class Undisturbed:
    """The world that nobody killed in.

    Attributes:
        told: What came out.
        spans: Every span that its processes told.
    """

    told: Told
    spans: tuple[SpanOf, ...]


@dataclass
class Worlds:
    """The worlds that were asked for, by the fixture's name."""

    futures: dict[str, Future[Told]]

    def told(self, name: str) -> Told:
        """Return what came out of a world; raises what went wrong in it."""
        return self.futures[name].result()


@pytest.fixture(scope="session")
def _worlds(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Worlds, Undisturbed]]:
    # Imported here: most test runs tell no world.
    from tests.chaos.killer import Accidents, Steps
    from tests.chaos.receivers import collector, webhook
    from tests.chaos.world import World

    wanted = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    folder = tmp_path_factory.mktemp("worlds")
    with ExitStack() as stack:
        url = stack.enter_context(webhook())
        spans, endpoint = stack.enter_context(collector())
        worlds = {
            "undisturbed": World(
                folder / "undisturbed",
                url,
                twice=True,
                otlp_endpoint=endpoint,
                traceparent=TRACEPARENT,
            ),
            "killed_at_each_step": World(folder / "steps", url, steps=Steps(folder / "deaths")),
            "killed_at_random": World(folder / "random", url, accidents=Accidents(SEED)),
        }
        threads = stack.enter_context(ThreadPoolExecutor(len(worlds), thread_name_prefix="world"))
        futures = {
            name: threads.submit(world.tell)
            for name, world in worlds.items()
            if name in wanted or name == "undisturbed"
        }
        told = Worlds(futures)
        yield told, Undisturbed(told.told("undisturbed"), spans.spans())


@pytest.fixture(scope="session")
def undisturbed(_worlds: tuple[Worlds, Undisturbed]) -> Undisturbed:
    """The world that nobody killed in, told twice, and traced."""
    return _worlds[1]


@pytest.fixture(scope="session")
def killed_at_each_step(_worlds: tuple[Worlds, Undisturbed]) -> Told:
    """The world in which every handler died at every step that it has."""
    return _worlds[0].told("killed_at_each_step")


@pytest.fixture(scope="session")
def killed_at_random(_worlds: tuple[Worlds, Undisturbed]) -> Told:
    """The world in which services, the bus and storage were killed at random moments."""
    return _worlds[0].told("killed_at_random")
