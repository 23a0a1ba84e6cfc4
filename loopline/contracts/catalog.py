"""THE table of events: message, subject, stream, who publishes, who consumes, limits.

A subject, a stream, a durable consumer or a limit is written here and nowhere else. The streams,
the permissions of every service, docs/events.md and the AsyncAPI document are derived from this
table.
"""

from __future__ import annotations

import string
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from loopline import contracts as c

M = TypeVar("M", bound=Message)

PREFIX = "loopline"
DEFAULT_POOL = "default"
MAX_EVENT_BYTES = 1_000_000  # nats-server's own default payload limit is 1 MiB
BACKOFF_S = (1.0, 5.0, 15.0, 60.0, 300.0)
"""Delays between deliveries of a message whose handler failed; the last one repeats."""
AGENTS = ("trainer", "inference")
"""Services whose processes report as agents: they run on whatever machines there are."""
SERVICES = ("ingest", "annotate", "trainer", "inference", "router", "lineage", "console")


class Stream(StrEnum):
    """The streams, by what they keep."""

    COMMITS = "COMMITS"  # for ever; deny delete and purge
    EVENTS = "EVENTS"  # progress and statistics; aged out
    WORK = "WORK"  # commands and chunks; gone once done
    RELABEL = "RELABEL"  # labeling jobs to open; gone once done
    DEAD = "DEAD"  # what was rejected or exhausted its deliveries
    ADVISORIES = "ADVISORIES"  # the server's own word that a message exhausted its deliveries


@dataclass(frozen=True, slots=True)
class Durable:
    """A durable consumer: one service's place in a stream.

    Args:
        service: Who consumes; processes of the service share the durable and so the work.
        ack_wait_s: Without an ack or a heartbeat for this long, the message is delivered again.
        max_deliver: Deliveries before the message is dead.
        max_ack_pending: Messages in flight over all processes.
    """

    service: str
    ack_wait_s: float = 30.0
    max_deliver: int = 8
    max_ack_pending: int = 256

    def waiting(self, ack_wait_s: float) -> Durable:
        """Return it with another `ack_wait_s`; as it is for 0."""
        return replace(self, ack_wait_s=ack_wait_s) if ack_wait_s else self


@dataclass(frozen=True)
class Event(Generic[M]):
    """One row of the table.

    Args:
        key: Name of the row, and of its handler: `on_<key>`.
        message: The protobuf class of the body.
        template: The subject, with `{workspace}` and other tokens.
        stream: Where it is kept.
        publishers: Services that may publish it; "user" is the SDK, "external" any customer.
        durables: Who consumes it.
        about: One sentence for docs/events.md.
    """

    key: str
    message: type[M]
    template: str
    stream: Stream
    publishers: tuple[str, ...]
    durables: tuple[Durable, ...] = ()
    about: str = ""
    tokens: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        names = [name for _, name, _, _ in string.Formatter().parse(self.template) if name]
        object.__setattr__(self, "tokens", tuple(names))

    @property
    def type(self) -> str:
        """The CloudEvents type: the message's full name."""
        return str(self.message.DESCRIPTOR.full_name)

    def subject(self, workspace: str, **tokens: str) -> str:
        """Return the subject for these tokens; a missing one becomes the wildcard `*`."""
        try:
            return self.template.format(workspace=workspace, **tokens)
        except KeyError:
            values = dict.fromkeys(self.tokens, "*") | tokens | {"workspace": workspace}
            return self.template.format(**values)

    def durable_name(self, service: str, workspace: str, pool: str = DEFAULT_POOL) -> str:
        """Return the name of a service's durable consumer of this event."""
        suffix = f"_{pool}" if "pool" in self.tokens else ""
        return f"{workspace}_{service}_{self.key}{suffix}"

    def by_name(self, service: str) -> bool:
        """Tell whether one worker of `service` can be sent this, with its name for the pool."""
        return service == "trainer" and "pool" in self.tokens

    def consumed_by(self, service: str) -> Durable:
        """Return the durable of `service`; KeyError if it does not consume this event."""
        for durable in self.durables:
            if durable.service == service:
                return durable
        raise KeyError(f"{service} does not consume {self.key}")


LONG = 30.0
"""`ack_wait_s` of work that heartbeats: how soon a killed worker's message is taken up again."""
AGENT = 20.0
"""The same for agents: within 30 s of an agent's end its run goes on elsewhere."""

DATASET_COMMITTED = Event(
    "dataset_committed",
    c.DatasetCommitted,
    "loopline.{workspace}.dataset.{name}.committed",
    Stream.COMMITS,
    ("ingest", "annotate", "trainer", "router", "user", "console"),
    (Durable("router"),),
    "A dataset has a new version.",
)
MODEL_COMMITTED = Event(
    "model_committed",
    c.ModelCommitted,
    "loopline.{workspace}.model.{name}.committed",
    Stream.COMMITS,
    ("trainer",),
    (Durable("router"),),
    "A model has a new version.",
)
ALIAS_MOVED = Event(
    "alias_moved",
    c.AliasMoved,
    "loopline.{workspace}.alias.{model}.{alias}.moved",
    Stream.COMMITS,
    ("router", "user", "console"),
    (Durable("router"),),
    "An alias points to another model version; every inference process follows it too.",
)
EVALUATION_COMMITTED = Event(
    "evaluation_committed",
    c.EvaluationCommitted,
    "loopline.{workspace}.evaluation.{model}.committed",
    Stream.COMMITS,
    ("trainer",),
    (Durable("router"),),
    "A model version was measured on a split of a dataset version.",
)
REPRODUCTION_COMMITTED = Event(
    "reproduction_committed",
    c.ReproductionCommitted,
    "loopline.{workspace}.reproduction.{model}.committed",
    Stream.COMMITS,
    ("trainer",),
    (),
    "A model version was trained again from the log alone, and compared.",
)
FLOW_COMMITTED = Event(
    "flow_committed",
    c.FlowCommitted,
    "loopline.{workspace}.flow.{name}.committed",
    Stream.COMMITS,
    ("user",),
    (),
    "A flow has a new version; the router reads the heads at every event.",
)
PREDICTIONS_COMMITTED = Event(
    "predictions_committed",
    c.PredictionsCommitted,
    "loopline.{workspace}.predictions.{name}.committed",
    Stream.COMMITS,
    ("inference",),
    (Durable("router"),),
    "A model version was applied to items of a dataset version.",
)
LABELING_JOB_COMMITTED = Event(
    "labeling_job_committed",
    c.LabelingJobCommitted,
    "loopline.{workspace}.job.{name}.committed",
    Stream.COMMITS,
    ("annotate",),
    (Durable("annotate"),),
    "A labeling job was opened, completed, stopped or reopened; annotate tells its receivers.",
)
LABELS_SUBMITTED = Event(
    "labels_submitted",
    c.LabelsSubmitted,
    "loopline.{workspace}.labels.{job}.{asset}.submitted",
    Stream.COMMITS,
    ("annotate",),
    (Durable("annotate"),),
    "A labeler submitted the annotations of one item.",
)
ITEM_REVIEWED = Event(
    "item_reviewed",
    c.ItemReviewed,
    "loopline.{workspace}.review.{job}.{asset}.reviewed",
    Stream.COMMITS,
    ("annotate",),
    (Durable("annotate"),),
    "A reviewer accepted the annotations of one item, or sent them back.",
)
DELIVERY_COMMITTED = Event(
    "delivery_committed",
    c.DeliveryCommitted,
    "loopline.{workspace}.delivery.{name}.committed",
    Stream.COMMITS,
    ("router",),
    (),
    "Results are in the customer's bucket.",
)
ACCESS_REVOKED = Event(
    "access_revoked",
    c.AccessRevoked,
    "loopline.{workspace}.access.{token}.revoked",
    Stream.COMMITS,
    ("console",),
    (),
    "A token is not good any more; every service that asks for tokens follows it.",
)
IMPORT_IMAGES = Event(
    "import_images",
    c.ImportImages,
    "loopline.{workspace}.cmd.import.{pool}",
    Stream.WORK,
    ("user", "external", "console"),
    (Durable("ingest", ack_wait_s=LONG),),
    "Import the images of a bucket into a dataset.",
)
AUGMENT_DATASET = Event(
    "augment_dataset",
    c.AugmentDataset,
    "loopline.{workspace}.cmd.augment.{pool}",
    Stream.WORK,
    ("user", "external"),
    (Durable("ingest", ack_wait_s=LONG),),
    "Commit a dataset with augmented copies of another one's items.",
)
IMPORT_CHUNK = Event(
    "import_chunk",
    c.ImportChunk,
    "loopline.{workspace}.cmd.import-chunk.{pool}",
    Stream.WORK,
    ("ingest",),
    (Durable("ingest", ack_wait_s=LONG),),
    "Fetch, check and store one slice of an import.",
)
JOIN_IMPORT = Event(
    "join_import",
    c.JoinImport,
    "loopline.{workspace}.cmd.import-join.{pool}",
    Stream.WORK,
    ("ingest",),
    (Durable("ingest", ack_wait_s=LONG),),
    "Join the slices of an import and commit the dataset version.",
)
TRAIN_MODEL = Event(
    "train_model",
    c.TrainModel,
    "loopline.{workspace}.cmd.train.{pool}",
    Stream.WORK,
    ("router", "user", "external", "console"),
    (Durable("trainer", ack_wait_s=AGENT),),
    "Train a model on a dataset version.",
)
REPRODUCE_MODEL = Event(
    "reproduce_model",
    c.ReproduceModel,
    "loopline.{workspace}.cmd.reproduce.{pool}",
    Stream.WORK,
    ("user", "external", "console"),
    (Durable("trainer", ack_wait_s=AGENT),),
    "Train a model version again from the log alone, and compare.",
)
EVALUATE_MODEL = Event(
    "evaluate_model",
    c.EvaluateModel,
    "loopline.{workspace}.cmd.evaluate.{pool}",
    Stream.WORK,
    ("router", "user", "external", "console"),
    (Durable("trainer", ack_wait_s=LONG),),
    "Measure a model version on a split of a dataset version.",
)
QUANTIZE_MODEL = Event(
    "quantize_model",
    c.QuantizeModel,
    "loopline.{workspace}.cmd.quantize.{pool}",
    Stream.WORK,
    ("user", "external"),
    (Durable("trainer", ack_wait_s=LONG),),
    "Write a model version again in 8 bit integers, as the model's next version.",
)
APPLY_MODEL = Event(
    "apply_model",
    c.ApplyModel,
    "loopline.{workspace}.cmd.apply.{pool}",
    Stream.WORK,
    ("router", "user", "external", "console"),
    (Durable("inference", ack_wait_s=LONG),),
    "Apply a model version to items of a dataset version.",
)
PREDICT_CHUNK = Event(
    "predict_chunk",
    c.PredictChunk,
    "loopline.{workspace}.cmd.predict-chunk.{pool}",
    Stream.WORK,
    ("inference",),
    (Durable("inference", ack_wait_s=LONG),),
    "Predict one slice of an application.",
)
JOIN_PREDICTIONS = Event(
    "join_predictions",
    c.JoinPredictions,
    "loopline.{workspace}.cmd.predict-join.{pool}",
    Stream.WORK,
    ("inference",),
    (Durable("inference", ack_wait_s=LONG),),
    "Join the slices of an application and commit the predictions.",
)
ROUTE_CHUNK = Event(
    "route_chunk",
    c.RouteChunk,
    "loopline.{workspace}.cmd.route-chunk.{pool}",
    Stream.WORK,
    ("router",),
    (Durable("router", ack_wait_s=LONG),),
    "Route one slice of predictions by the flow's rules.",
)
JOIN_ROUTING = Event(
    "join_routing",
    c.JoinRouting,
    "loopline.{workspace}.cmd.route-join.{pool}",
    Stream.WORK,
    ("router",),
    (Durable("router", ack_wait_s=LONG),),
    "Join the slices of a routing: commit the delivery, open the labeling job.",
)
OPEN_LABELING_JOB = Event(
    "open_labeling_job",
    c.OpenLabelingJob,
    "loopline.{workspace}.relabel.{queue}",
    Stream.RELABEL,
    ("router", "user", "external"),
    (Durable("annotate", ack_wait_s=LONG),),
    "Open a labeling job over a list of items.",
)
SEND_NOTIFICATION = Event(
    "send_notification",
    c.SendNotification,
    "loopline.{workspace}.cmd.notify.{pool}",
    Stream.WORK,
    ("annotate",),
    # A receiver in backoff stays pending: many of them must not hold up the others.
    (Durable("annotate", max_deliver=60, max_ack_pending=10_000),),
    "Tell one receiver of a labeling job's commit: a webhook, an address, a chat.",
)
RUN_CHANGED = Event(
    "run_changed",
    c.RunChanged,
    "loopline.{workspace}.run.{run_id}.changed",
    Stream.EVENTS,
    ("ingest", "annotate", "trainer", "inference", "router"),
    (),
    "A run made progress or changed its state.",
)
CHUNK_COMPLETED = Event(
    "chunk_completed",
    c.ChunkCompleted,
    "loopline.{workspace}.chunk.{run_id}.{index}.completed",
    Stream.EVENTS,
    ("ingest", "trainer", "inference", "router"),
    (),
    "A chunk of a run is done; the first to say so wins.",
)
PROMOTION_DECLINED = Event(
    "promotion_declined",
    c.PromotionDeclined,
    "loopline.{workspace}.promotion.{model}.declined",
    Stream.EVENTS,
    ("router",),
    (),
    "A promotion rule looked at a model version and did not move the alias.",
)
REQUESTS_SAMPLED = Event(
    "requests_sampled",
    c.RequestsSampled,
    "loopline.{workspace}.request.{model}.sampled",
    Stream.EVENTS,
    ("inference",),
    (Durable("router"),),
    "Requests that were recorded, with what the model said; flows choose what enters a dataset.",
)
ROLLOUT_REPORTED = Event(
    "rollout_reported",
    c.RolloutReported,
    "loopline.{workspace}.rollout.{model}.reported",
    Stream.EVENTS,
    ("inference",),
    (),
    "What a second version did beside an alias's target: its share, and how its answers compare.",
)
NOTIFICATION_SENT = Event(
    "notification_sent",
    c.NotificationSent,
    "loopline.{workspace}.notification.{job}.sent",
    Stream.EVENTS,
    ("annotate",),
    (),
    "A receiver was told of a labeling job, or given up.",
)
AGENT_REPORTED = Event(
    "agent_reported",
    c.AgentReported,
    "loopline.{workspace}.agent.{agent}.reported",
    Stream.EVENTS,
    ("trainer", "inference"),
    (),
    "An agent says what it is and what it does; the last report on its subject is its state.",
)
CANCEL_RUN = Event(
    "cancel_run",
    c.CancelRun,
    "loopline.{workspace}.run.{run_id}.cancel",
    Stream.EVENTS,
    ("user", "console"),
    (),
    "Stop a run: whoever runs it looks here; `run_id` is the run's, or sha256 of its command's id.",
)

EVENTS: tuple[Event[Any], ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, Event)
)
"""Every row, in the order above."""

BY_TYPE: dict[str, Event[Any]] = {event.type: event for event in EVENTS}
"""Row by CloudEvents type."""

COMMITS: tuple[Event[Any], ...] = tuple(e for e in EVENTS if e.stream == Stream.COMMITS)
"""The rows whose messages are commits."""


def dead_subject(workspace: str, service: str, key: str) -> str:
    """Return the subject of a dead letter of `service`'s handler of the event `key`."""
    return f"{PREFIX}.{workspace}.dead.{service}.{key}"


def retry_subject(workspace: str, service: str, key: str) -> str:
    """Return the subject on which a dead reaction to a commit is given to its service again.

    A commit cannot go back on its own subject: publishing it twice would make another version.
    """
    return f"{PREFIX}.{workspace}.retry.{service}.{key}"


def retry_durable(workspace: str, service: str) -> str:
    """Return the name of a service's durable of retried reactions."""
    return f"{workspace}_{service}_retry"


RETRY = Durable("", ack_wait_s=LONG)
"""Limits of every service's durable of retried reactions."""
DEAD_WILDCARD = f"{PREFIX}.*.dead.*.*"
ADVISORY_WILDCARD = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>"
ADVISORY_DURABLE = "router_delivery_exhausted"
"""The router's durable on ADVISORIES: it moves what exhausted its deliveries to DEAD."""


def subjects(stream: Stream) -> list[str]:
    """Return the subjects that `stream` takes, for every workspace."""
    if stream == Stream.DEAD:
        return [DEAD_WILDCARD]
    if stream == Stream.ADVISORIES:
        return [ADVISORY_WILDCARD]
    found = {event.subject("*") for event in EVENTS if event.stream == stream}
    if stream == Stream.WORK:
        found.add(retry_subject("*", "*", "*"))
    return sorted(found)
