r"""The life of a labeling job: what may be opened, stopped, labeled, and which is the same job.

    (nothing) -> pending -> in_progress <-> on_review -> completed
                                \________________\____-> stopped
    completed, stopped -> in_progress, by reopening

A job is named by people and is what its specification says: opening it again with the same
specification is a repetition, with another one a mistake, unless the job keeps filling: then it
adds items. Who holds an item, and where an item stands, is in `work`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

from loopline.digests import digest_of, is_digest
from loopline.errors import Rejected
from loopline.names import validate_name

INSTRUCTIONS_LENGTH_MAX = 20_000  # characters
CLASSES_MAX = 10_000
WEBHOOK_URL_LENGTH_MAX = 2_000  # characters
PEOPLE_MAX = 1_000
RECEIVERS_MAX = 20
LABELERS_PER_ITEM_MAX = 20
REOPENED_ASSETS_MAX = 1_000
LEASE_MIN_S = 5.0
LEASE_MAX_S = 7 * 86_400.0
SHAPES = ("whole_image", "box", "polygon", "mask")
MAILTO = "mailto:"
CHAT = "chat:"


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
        return self in (State.IN_PROGRESS, State.ON_REVIEW)

    @property
    def text(self) -> str:
        """For people."""
        return self.value.replace("_", " ")

    @property
    def over(self) -> bool:
        """Whether nothing more will come of it."""
        return self in (State.COMPLETED, State.STOPPED)


@dataclass(frozen=True, slots=True)
class Options:
    """How a job is worked; every default is the simplest job.

    Attributes:
        shapes: What may be drawn, of `SHAPES`; empty for all.
        labelers: Who labels; empty for everybody with the role.
        reviewers: Who reviews; empty for everybody with the role.
        review: Whether a reviewer looks at every item before it counts.
        priority: Jobs with a higher one come first.
        labelers_per_item: How many people label each item.
        quorum: How many of them must say the same; 0 for more than half.
        iou_min: From which overlap on two shapes are the same; 0 for 0.5.
        ground_truth_digest: Object digest of the list of items that score labelers.
        ground_truth_count: How many there are.
        ground_truth_every: After how many items one of them comes; 0 for 10.
        keeps_filling: Whether further commands add items.
        where: The rule that chose the items, for people.
        pending: Whether it waits to be started.
        confidence_min: Predicted shapes below are not shown.
        notify: Who is told beside the webhook.
        lease_s: How long an item is kept without a sign of life; 0 for the service's default.
        start_empty: Whether labelers do not see what the dataset version says already.
    """

    shapes: tuple[str, ...] = ()
    labelers: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()
    review: bool = False
    priority: int = 0
    labelers_per_item: int = 1
    quorum: int = 0
    iou_min: float = 0.0
    ground_truth_digest: str = ""
    ground_truth_count: int = 0
    ground_truth_every: int = 0
    keeps_filling: bool = False
    where: str = ""
    pending: bool = False
    confidence_min: float = 0.0
    notify: tuple[str, ...] = ()
    lease_s: float = 0.0
    start_empty: bool = False

    def given(self) -> dict[str, object]:
        """Return what differs from the defaults."""
        defaults = Options()
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: v for name, v in values.items() if v != getattr(defaults, name)}


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
        options: How it is worked.
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
    options: Options = field(default_factory=Options)

    @property
    def digest(self) -> str:
        """Digest of all of it: two commands with equal digests ask for the same job."""
        fields = {name: getattr(self, name) for name in self.__slots__ if name != "options"}
        # Options came later: a job without any keeps the digest it always had.
        return digest_of(fields | self.options.given())


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
    check_options(job, specification.options)


def check_options(job: str, options: Options) -> None:
    """Refuse options that contradict themselves or could never be met.

    Raises:
        Rejected: It names the job, the option and the reason.
    """
    fault = next(_option_faults(options), "")
    if fault:
        raise Rejected(f"job {job}: {fault}", job=job)


def _option_faults(options: Options) -> Iterator[str]:
    unknown = [name for name in options.shapes if name not in SHAPES]
    if unknown:
        yield f"shapes: {unknown[0]!r} is none of {', '.join(SHAPES)}"
    for what in ("labelers", "reviewers"):
        people: tuple[str, ...] = getattr(options, what)
        if len(people) > PEOPLE_MAX or "" in people or len(set(people)) != len(people):
            yield f"{what} must be up to {PEOPLE_MAX} different names"
    yield from _number_faults(options)
    if bool(options.ground_truth_digest) != bool(options.ground_truth_count):
        yield "ground_truth_digest and ground_truth_count come together"
    if options.ground_truth_digest and not is_digest(options.ground_truth_digest):
        yield "ground_truth_digest is not a sha256 digest"
    if len(options.notify) > RECEIVERS_MAX:
        yield f"more than {RECEIVERS_MAX} receivers"
    for receiver in options.notify:
        yield from _receiver_fault(receiver)


def _number_faults(options: Options) -> Iterator[str]:
    many = options.labelers_per_item
    if not 1 <= many <= LABELERS_PER_ITEM_MAX:
        yield f"labelers_per_item must be 1 to {LABELERS_PER_ITEM_MAX}, not {many}"
    if options.labelers and many > len(options.labelers):
        yield f"{many} labelers an item, and only {len(options.labelers)} labelers"
    if options.quorum > many:
        yield f"a quorum of {options.quorum} out of {many} labelers"
    if not 0 <= options.iou_min <= 1 or not 0 <= options.confidence_min <= 1:
        yield "iou_min and confidence_min must be 0 to 1"
    if options.lease_s and not LEASE_MIN_S <= options.lease_s <= LEASE_MAX_S:
        yield f"lease_s must be {LEASE_MIN_S:g} to {LEASE_MAX_S:g}"


def _receiver_fault(receiver: str) -> Iterator[str]:
    if receiver.startswith(MAILTO):
        name, _, host = receiver.removeprefix(MAILTO).partition("@")
        if not name or not host or any(c.isspace() or c in "<>,;@" for c in name + host):
            yield f"{receiver!r} is no address"
    elif receiver.startswith(CHAT):
        if not receiver.removeprefix(CHAT):
            yield f"{receiver!r} names no chat"
    else:
        yield f"{receiver!r} begins with neither {MAILTO} nor {CHAT}"


def starts_empty(options: Options) -> bool:
    """Tell whether labelers begin each item on an empty canvas.

    So they do among hidden items that score them: these could be told from the others by what they
    start with.
    """
    return options.start_empty or options.ground_truth_count > 0


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
        f"({existing.state.text}): choose another name",
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


def decide_starting(job: str, existing: JobStatus) -> bool:
    """Tell whether starting the job is something new to commit.

    Raises:
        Rejected: It is over.
    """
    if existing.state.over:
        raise Rejected(f"labeling job {job} is {existing.state.text}: reopen it", job=job)
    return existing.state is State.PENDING


def check_changing(job: str, existing: JobStatus) -> None:
    """Refuse to change a job that is over.

    Raises:
        Rejected: It is.
    """
    if existing.state.over:
        raise Rejected(f"labeling job {job} is {existing.state.text}: reopen it", job=job)


def check_reopening(job: str, existing: JobStatus, assets: Sequence[str]) -> None:
    """Refuse to reopen a job that is not over.

    Raises:
        Rejected: It is not over, or too many items are named.
    """
    if not existing.state.over:
        raise Rejected(f"labeling job {job} is {existing.state.text}: it is open", job=job)
    if len(assets) > REOPENED_ASSETS_MAX:
        raise Rejected(
            f"job {job}: at most {REOPENED_ASSETS_MAX} items can be named; none reopens all",
            job=job,
        )


def check_same_dataset(asked: Specification, dataset: str) -> None:
    """Refuse to add items of another dataset to a job.

    Raises:
        Rejected: They are of another one.
    """
    if asked.dataset != dataset:
        raise Rejected(
            f"labeling job {asked.job} is about {dataset}: items of {asked.dataset} "
            "cannot be added to it",
            job=asked.job,
        )


def check_fills(job: str, state: State) -> None:
    """Refuse to add items to a job that is over.

    Raises:
        Rejected: It is.
    """
    if state.over:
        raise Rejected(f"labeling job {job} is {state.text}: reopen it to add items", job=job)


def check_room(job: str, items: int, items_max: int) -> None:
    """Refuse more items than a job may have.

    Raises:
        Rejected: There would be more.
    """
    if items > items_max:
        raise Rejected(f"job {job}: {items} items; a job has at most {items_max}", job=job)


def check_accepts_labels(job: str, state: State) -> None:
    """Refuse labels for a job that takes none.

    Raises:
        Rejected: It names the job and its state.
    """
    if not state.accepts_labels:
        raise Rejected(f"labeling job {job} is {state.text}: it takes no labels", job=job)


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
