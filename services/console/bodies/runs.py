"""Runs, agents, queues, dead letters, events."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from services.console.bodies.base import In, Out, PersonOut, RefOut, WorkerOut

RunState = Literal["queued", "running", "completed", "failed", "cancelled"]


class TrainingOut(Out):
    """Where a training is."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    learning_rate: float
    images_per_s: float
    eta_s: float
    metrics: dict[str, float]


class RunOut(Out):
    """A run: one execution of a step."""

    id: str
    node: str
    kind: str
    state: RunState
    title: str
    done: int
    total: int
    """0 if it is not known."""
    unit: str
    progress: float | None
    """In [0, 1]."""
    figures: dict[str, float]
    training: TrainingOut | None
    message: str
    """Why it failed, or what it says."""
    worker: WorkerOut | None
    actor: PersonOut | None
    started_at: str
    finished_at: str
    duration_s: float | None
    at: str
    """When it was last heard of."""
    command_id: str
    artefact: RefOut | None
    """What it made."""
    inputs: list[RefOut]
    parameters: dict[str, Any]
    environment: dict[str, Any]
    trace_id: str
    trace_url: str
    """Where its trace is shown; "" if that is not configured."""
    log_url: str
    """Its log lines; "" if this console cannot read them."""
    can_cancel: bool
    can_rerun: bool
    can_reproduce: bool


class RunsOut(Out):
    """Runs, the last one that was heard of first."""

    runs: list[RunOut]
    next_cursor: str | None


class PointOut(Out):
    """One report of a run."""

    at: str
    done: int
    total: int
    step: int
    epoch: int
    figures: dict[str, float]
    """Loss, metrics and rates of that moment."""


class ProgressOut(Out):
    """How a run went, for its curves; at most some thousand points, evenly thinned."""

    run: str
    points: list[PointOut]


class LogLineOut(Out):
    """One line of a service's log."""

    at: str
    service: str
    level: str
    event: str
    fields: dict[str, Any]


class LogOut(Out):
    """Lines that mention a run, oldest first."""

    lines: list[LogLineOut]
    is_whole: bool
    """False if there are more before them."""


class ReasonIn(In):
    """Why something is done, for people."""

    reason: str = Field(default="", max_length=500)


class ReproducedOut(Out):
    """What reproducing a run begins."""

    command_id: str
    model: str


class DeviceOut(Out):
    """Something an agent computes with."""

    kind: str
    name: str
    memory_bytes: int
    cores: int


class AgentRunOut(Out):
    """What an agent does now."""

    run: str
    kind: str
    title: str
    since: str


class AgentOut(Out):
    """A trainer or inference worker on some machine."""

    id: str
    kind: str
    host: str
    state: Literal["present", "gone"]
    labels: dict[str, str]
    pools: list[str]
    devices: list[DeviceOut]
    capacity: int
    running: list[AgentRunOut]
    load: dict[str, float]
    version: str
    started_at: str
    at: str


class AgentsOut(Out):
    """Every agent heard of lately, by id."""

    agents: list[AgentOut]


class QueueOut(Out):
    """A queue of work, and one service's place in it."""

    name: str
    """Of the durable."""
    stream: str
    event: str
    """As in the catalog: "import_chunk"."""
    service: str
    pool: str
    waiting: int
    """Messages nobody took yet."""
    in_flight: int
    redelivered: int
    workers_waiting: int
    """Processes that ask for work at this moment."""
    oldest_age_s: float | None
    """Of the oldest message that is not done; null if there is none."""


class QueuesOut(Out):
    """Every queue, the deepest first."""

    queues: list[QueueOut]
    dead: int
    """Dead letters in all."""


class DeadLetterOut(Out):
    """A message that nobody could handle."""

    sequence: int
    at: str
    service: str
    event: str
    reason: str
    stream: str
    subject: str
    attempts: int
    can_retry: bool


class DeadLetterDetailOut(DeadLetterOut):
    """The same, with what was in it."""

    headers: dict[str, str]
    body: dict[str, Any]


class DeadLettersOut(Out):
    """Dead letters, the newest first."""

    letters: list[DeadLetterOut]


class EventOut(Out):
    """One message of the tail: what the stream of `/api/events` sends as `data`."""

    id: str
    """"<commits sequence>-<events sequence>": what the browser sends back as `Last-Event-ID`."""
    type: str
    """As in the catalog: dataset_committed, run_changed, agent_reported, ..."""
    at: str
    name: str
    """Of what it is about."""
    node: str
    """Its node in the graph; "" if it has none."""
    summary: str
    actor: str
    run: RunOut | None
    """With `run_changed`."""
    agent: AgentOut | None
    """With `agent_reported`."""


class EventsOut(Out):
    """The end of the tail, oldest first."""

    events: list[EventOut]
    last_id: str
