"""What the end of a training process means for its run."""

from __future__ import annotations

import pytest

from loopline.errors import LooplineError, Rejected, Transient
from services.trainer.domain.ending import KILLED_ATTEMPTS_MAX, Separated, failed, verdict
from services.trainer.ending import failure_of


def test_a_killed_process_is_tried_again_and_memory_is_named() -> None:
    error = verdict(-9, 1, "")
    assert isinstance(error, Transient)
    assert "SIGKILL" in error.message
    assert "ran out of memory" in error.message


@pytest.mark.parametrize(
    ("kind", "attempt", "error", "words"),
    [
        ("killed", 1, Transient, "goes on from its last checkpoint"),
        ("killed", KILLED_ATTEMPTS_MAX, Rejected, "given up"),
        ("separated", 8, Separated, "who shares the training does not answer"),
        ("disk_full", 8, Transient, "the disk is full"),
        ("out_of_memory", 1, Rejected, "training ran out of memory"),
        ("loader", 1, Rejected, "images could not be made into a batch"),
        ("crashed", 1, Rejected, "the recipe failed"),
        ("rejected", 1, Rejected, "reason"),
    ],
)
def test_what_went_wrong_is_reported_as_what_it_is(
    kind: str, attempt: int, error: type[LooplineError], words: str
) -> None:
    found = failed(kind, "the reason", attempt)
    assert type(found) is error
    assert words in found.message
    assert "the reason" in found.message


def test_a_process_that_is_killed_again_and_again_is_given_up() -> None:
    error = verdict(-9, KILLED_ATTEMPTS_MAX, "")
    assert isinstance(error, Rejected)
    assert f"given up after {KILLED_ATTEMPTS_MAX} attempts" in error.message


def test_a_crash_names_its_signal_and_last_words() -> None:
    error = verdict(-11, 1, "loading\nFatal Python error: Segmentation fault\n\n")
    assert "SIGSEGV" in error.message
    assert "Fatal Python error: Segmentation fault" in error.message


def test_a_process_that_ended_by_itself_would_do_so_again() -> None:
    error = verdict(3, 1, "usage: wrong")
    assert isinstance(error, Rejected)
    assert error.message == "training ended with exit code 3: usage: wrong"


def test_a_signal_without_a_name_is_told_by_its_number() -> None:
    assert "signal 99" in verdict(-99, 1, "").message


class DistError(RuntimeError):
    """Named as torch's own, which takes seconds to load."""


class DistNetworkError(DistError):
    """As torch's own."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        pytest.param(
            RuntimeError(
                "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by "
                "peer [127.0.0.1]:48276"
            ),
            "separated",
            id="gloo",
        ),
        pytest.param(DistNetworkError("failed to connect"), "separated", id="torch"),
        pytest.param(RuntimeError("shapes cannot be multiplied"), "crashed", id="a recipe"),
    ],
)
def test_a_lost_connection_is_no_fault_of_the_recipe(error: Exception, kind: str) -> None:
    with pytest.raises(RuntimeError) as raised:
        raise error
    assert failure_of(raised.value).kind == kind
