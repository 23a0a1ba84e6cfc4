"""Which jobs may be opened, stopped, and labeled."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loopline.errors import Rejected
from services.annotate.domain.jobs import (
    JobStatus,
    Specification,
    State,
    check_accepts_labels,
    check_items,
    check_specification,
    decide_opening,
    decide_stopping,
)

ASSETS = ["a" * 64, "b" * 64]
JOB = Specification(
    job="relabel",
    dataset="catalogue",
    dataset_version=1,
    items_digest="1" * 64,
    items_count=2,
    classes=("coat", "shirt"),
    webhook_url="http://127.0.0.1:9/hook",
)


def test_a_sound_job_is_taken() -> None:
    check_specification(JOB, items_max=10)
    check_items(JOB, ASSETS)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({"job": "Relabel!"}, "'Relabel!' is not a valid", id="name"),
        pytest.param({"dataset": ""}, "is not a valid dataset name", id="dataset"),
        pytest.param({"items_digest": "xyz"}, "items_digest is not", id="digest"),
        pytest.param({"items_count": 0}, "0 items; a job has 1 to 10", id="no-items"),
        pytest.param({"items_count": 11}, "11 items; a job has 1 to 10", id="many-items"),
        pytest.param({"classes": ("coat", "coat")}, "'coat' is listed twice", id="class-twice"),
        pytest.param({"classes": ("",)}, "empty name", id="class-empty"),
        pytest.param({"webhook_url": "file:///etc/passwd"}, "not an http", id="scheme"),
        pytest.param({"webhook_url": "http://"}, "not an http", id="no-host"),
        pytest.param({"webhook_url": "http://[::1"}, "not an http", id="garbage"),
        pytest.param({"instructions": "x" * 20_001}, "instructions are longer", id="long"),
    ],
)
def test_job_that_could_never_be_worked_is_refused(change: dict[str, str], reason: str) -> None:
    with pytest.raises(Rejected, match=reason):
        check_specification(replace(JOB, **change), items_max=10)  # type: ignore[arg-type]  # any field


@pytest.mark.parametrize(
    ("assets", "reason"),
    [
        pytest.param(["a" * 64], "holds 1 items, the command says 2", id="count"),
        pytest.param(["a" * 64, "a" * 64], "listed twice", id="twice"),
        pytest.param(["a" * 64, "image.png"], "'image.png' is not the digest", id="no-digest"),
    ],
)
def test_list_of_items_that_is_not_what_the_command_said_is_refused(
    assets: list[str], reason: str
) -> None:
    with pytest.raises(Rejected, match=f"job relabel: .*{reason}"):
        check_items(JOB, assets)


@pytest.mark.parametrize("state", list(State))
def test_the_same_job_again_changes_nothing_whatever_its_state(state: State) -> None:
    assert decide_opening(JOB, None)
    assert not decide_opening(JOB, JobStatus(state, JOB.digest))


def test_another_job_of_the_same_name_is_refused() -> None:
    existing = JobStatus(State.COMPLETED, replace(JOB, items_digest="2" * 64).digest)
    with pytest.raises(Rejected, match=r"relabel exists with another specification \(completed\)"):
        decide_opening(JOB, existing)


def test_only_running_jobs_stop_and_take_labels() -> None:
    assert decide_stopping("relabel", JobStatus(State.IN_PROGRESS, JOB.digest))
    assert not decide_stopping("relabel", JobStatus(State.STOPPED, JOB.digest))
    with pytest.raises(Rejected, match="relabel is completed"):
        decide_stopping("relabel", JobStatus(State.COMPLETED, JOB.digest))
    check_accepts_labels("relabel", State.IN_PROGRESS)
    check_accepts_labels("relabel", State.ON_REVIEW)
    for state in (State.PENDING, State.COMPLETED, State.STOPPED):
        with pytest.raises(Rejected, match="it takes no labels"):
            check_accepts_labels("relabel", state)
