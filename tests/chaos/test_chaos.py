"""Whoever is killed, and whenever: what there is at the end is what there would have been.

Each step of each handler once, and accidents at random moments; `make chaos` does it at length. How
it is done, and what is not promised, is in docs/resilience.md.
"""

from __future__ import annotations

import pytest

from loopline.contracts.catalog import SERVICES
from loopline.failpoints import STEPS
from tests.chaos.fixtures import Undisturbed
from tests.chaos.killer import handlers
from tests.chaos.world import Told

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

NOTHING_TO_WRITE = {
    "on_dataset_committed": "sends commands; what they name is in the log",
    "on_model_committed": "moves an alias: a commit without an object",
    "on_evaluation_committed": "moves an alias, or says why it stays",
    "on_alias_moved": "sends commands",
    "on_open_labeling_job": "the items of a job are rows, made again from the objects it names",
    "on_labeling_job_committed": "sends commands",
    "on_send_notification": "calls a webhook and says so",
}
"""Handlers that write no object, and so have no step before one."""


def steps_there_are() -> set[str]:
    return {
        f"{handler}/{step}"
        for handler in handlers()
        for step in STEPS
        if not (step == "before_write" and handler in NOTHING_TO_WRITE)
    }


def test_every_handler_was_killed_at_every_step_that_it_has(killed_at_each_step: Told) -> None:
    assert set(NOTHING_TO_WRITE) <= set(handlers())
    assert killed_at_each_step.fired == steps_there_are()


def test_killed_at_each_step_nothing_is_lost_and_nothing_doubled(
    killed_at_each_step: Told, undisturbed: Undisturbed
) -> None:
    assert not killed_at_each_step.outcome.differences(undisturbed.told.outcome)
    assert sum(killed_at_each_step.deaths.values()) >= len(steps_there_are())


def test_killed_at_random_nothing_is_lost_and_nothing_doubled(
    killed_at_random: Told, undisturbed: Undisturbed
) -> None:
    assert not killed_at_random.outcome.differences(undisturbed.told.outcome)
    assert set(killed_at_random.deaths) <= {*SERVICES, "nats", "weed"}
    assert sum(killed_at_random.deaths.values()) >= 10


def test_undisturbed_what_is_stored_is_whole(undisturbed: Undisturbed) -> None:
    check_whole(undisturbed.told)


def test_killed_at_each_step_what_is_stored_is_whole(killed_at_each_step: Told) -> None:
    check_whole(killed_at_each_step)


def test_killed_at_random_what_is_stored_is_whole(killed_at_random: Told) -> None:
    check_whole(killed_at_random)


def check_whole(told: Told) -> None:
    assert told.proven.ok, told.proven.problems
    assert told.proven.objects == len(told.outcome.delivered) - told.proven.manifests
    assert told.checked.ok
    assert told.graphed.ok, told.graphed
    assert told.graphed.commits == len(told.commits)
