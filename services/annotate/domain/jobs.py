"""The life of a labeling job: what may be opened, stopped, labeled, and which is the same job.

    (nothing) -> in_progress -> completed
                             -> stopped

A job is named by people and is what its specification says: opening it again with the same
specification is a repetition, with another one a mistake. Leases and reviews are not decided here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from loopline.digests import digest_of, is_digest
from loopline.errors import Rejected
from loopline.names import validate_name

INSTRUCTIONS_LENGTH_MAX = 20_000  # characters
CLASSES_MAX = 10_000
WEBHOOK_URL_LENGTH_MAX = 2_000  # characters


class State(StrEnum):
    """Where a job stands."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    ON_REVIEW = "on_review"
    COMPLETED = "completed"
    STOPPED = "stopped"

    @property
    def accepts_labels(self) -> bool:
        """Whether labelers may submit."""
        return self is State.IN_PROGRESS

    @property
    def over(self) -> bool:
        """Whether nothing more will come of it."""
        return self in (State.COMPLETED, State.STOPPED)


@dataclass(frozen=True, slots=True)
class Specification:
    """What a labeling job asks for, as it was asked.

    Attributes:
        job: The job's name.
        dataset: Name of the dataset its items are in.
        dataset_version: Version number as asked; 0 for "its head".
        dataset_digest: Digest as asked; empty if only a version was named.
        items_digest: Object digest of the list of assets.
        items_count: How many assets the list is said to hold.
        predictions_digest: Digest of the predictions shown to labelers; empty if none.
        instructions: What labelers should know.
        classes: Classes to choose from; empty for those of the dataset.
        webhook_url: Where to tell of it; empty for nowhere.
        deadline: RFC 3339 moment, or empty.
    """

    job: str
    dataset: str
    items_digest: str
    items_count: int
    dataset_version: int = 0
    dataset_digest: str = ""
    predictions_digest: str = ""
    instructions: str = ""
    classes: tuple[str, ...] = ()
    webhook_url: str = ""
    deadline: str = ""

    @property
    def digest(self) -> str:
        """Digest of all of it: two commands with equal digests ask for the same job."""
        return digest_of({name: getattr(self, name) for name in self.__slots__})


@dataclass(frozen=True, slots=True)
class JobStatus:
    """The last committed word on a job."""

    state: State
    specification_digest: str


def check_specification(specification: Specification, items_max: int) -> None:
    """Refuse a job that could never be worked.

    Args:
        specification: What is asked for.
        items_max: The most items one job may have.

    Raises:
        Rejected: It names the job, the field and the reason.
    """
    job = specification.job
    validate_name("labeling job", job)
    validate_name("dataset", specification.dataset)
    if not is_digest(specification.items_digest):
        raise Rejected(f"job {job}: items_digest is not a sha256 digest", job=job)
    if not 0 < specification.items_count <= items_max:
        raise Rejected(
            f"job {job}: {specification.items_count} items; a job has 1 to {items_max}", job=job
        )
    if len(specification.instructions) > INSTRUCTIONS_LENGTH_MAX:
        raise Rejected(
            f"job {job}: the instructions are longer than {INSTRUCTIONS_LENGTH_MAX} characters",
            job=job,
        )
    check_classes(job, specification.classes)
    if specification.webhook_url:
        check_webhook_url(job, specification.webhook_url)


def check_classes(job: str, classes: Sequence[str]) -> None:
    """Refuse class lists that are too long or name a class twice or not at all.

    Raises:
        Rejected: It names the job and the class.
    """
    if len(classes) > CLASSES_MAX:
        raise Rejected(f"job {job}: more than {CLASSES_MAX} classes", job=job)
    if "" in classes:
        raise Rejected(f"job {job}: a class has an empty name", job=job)
    twice = next((name for name, count in Counter(classes).items() if count > 1), None)
    if twice is not None:
        raise Rejected(f"job {job}: class {twice!r} is listed twice", job=job)


def check_webhook_url(job: str, url: str) -> None:
    """Refuse URLs that no notification could go to.

    Raises:
        Rejected: It is not http or https, has no host, or is too long.
    """
    if len(url) > WEBHOOK_URL_LENGTH_MAX:
        raise Rejected(f"job {job}: the webhook URL is too long", job=job)
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise Rejected(f"job {job}: {url!r} is not an http(s) URL for a webhook", job=job)


def decide_opening(specification: Specification, existing: JobStatus | None) -> bool:
    """Tell whether opening the job is something new to commit.

    Args:
        specification: What is asked for.
        existing: The job of that name, if there is one, in whatever state.

    Returns:
        False if this very job was opened before.

    Raises:
        Rejected: Another job has that name.
    """
    if existing is None:
        return True
    if existing.specification_digest == specification.digest:
        return False
    raise Rejected(
        f"labeling job {specification.job} exists with another specification "
        f"({existing.state.value.replace('_', ' ')}): choose another name",
        job=specification.job,
    )


def decide_stopping(job: str, existing: JobStatus) -> bool:
    """Tell whether stopping the job is something new to commit.

    Raises:
        Rejected: It is completed.
    """
    if existing.state is State.STOPPED:
        return False
    if existing.state is State.COMPLETED:
        raise Rejected(f"labeling job {job} is completed: there is nothing to stop", job=job)
    return True


def check_accepts_labels(job: str, state: State) -> None:
    """Refuse labels for a job that takes none.

    Raises:
        Rejected: It names the job and its state.
    """
    if not state.accepts_labels:
        raise Rejected(
            f"labeling job {job} is {state.value.replace('_', ' ')}: it takes no labels", job=job
        )


def check_items(specification: Specification, assets: Sequence[str]) -> None:
    """Refuse a list of items that is not what the command said.

    Raises:
        Rejected: It is of another length, names an asset twice, or holds what is not a digest.
    """
    job = specification.job
    if len(assets) != specification.items_count:
        raise Rejected(
            f"job {job}: the list holds {len(assets)} items, the command says "
            f"{specification.items_count}",
            job=job,
        )
    wrong = next((asset for asset in assets if not is_digest(asset)), None)
    if wrong is not None:
        raise Rejected(f"job {job}: {wrong!r} is not the digest of an asset", job=job)
    if len(set(assets)) != len(assets):
        raise Rejected(f"job {job}: an asset is listed twice", job=job)
