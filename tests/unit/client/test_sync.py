"""The sync SDK has every verb of the async one, with the same signature."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator

import pytest

from loopline.client import aio, sync
from loopline.client.generate import TARGET, VERBS, generated
from loopline.client.portal import Portal


def public(cls: type) -> dict[str, list[str]]:
    return {
        name: list(inspect.signature(method).parameters)
        for name, method in vars(cls).items()
        if inspect.isfunction(method) and not name.startswith("_") and name != "close"
    }


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_there_with_the_same_parameters(verb: str) -> None:
    name = f"{verb.capitalize()}Verbs"
    module = __import__(f"loopline.client.{aio_module(verb)}", fromlist=[name])
    assert public(getattr(sync, name)) == public(getattr(module, name))


def aio_module(verb: str) -> str:
    together = {"user": "people", "token": "people", "agent": "runs"}
    return (
        verb
        if verb in ("augment", "dead", "lineage", "storage")
        else together.get(verb, f"{verb}s")
    )


def test_the_client_itself_has_the_same_verbs() -> None:
    assert public(sync.LooplineVerbs) == public(aio.AsyncLoopline)


def test_the_committed_files_are_what_the_generator_writes() -> None:
    assert {path.name: path.read_text() for path in TARGET.glob("*.py")} == generated()


def test_a_portal_runs_coroutines_and_iterators_from_a_plain_program() -> None:
    async def one() -> int:
        return 1

    async def many() -> AsyncIterator[int]:
        for number in range(3):
            yield number

    portal = Portal()
    assert portal.call(one()) == 1
    assert list(portal.iterate(many())) == [0, 1, 2]
    portal.close()
