import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from loopline.contracts.dataset.v1 import annotation_pb2 as _annotation_pb2
from loopline.contracts.dataset.v1 import dataset_pb2 as _dataset_pb2
from loopline.contracts.lineage.v1 import lineage_pb2 as _lineage_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class JobState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_STATE_UNSPECIFIED: _ClassVar[JobState]
    JOB_STATE_PENDING: _ClassVar[JobState]
    JOB_STATE_IN_PROGRESS: _ClassVar[JobState]
    JOB_STATE_ON_REVIEW: _ClassVar[JobState]
    JOB_STATE_COMPLETED: _ClassVar[JobState]
    JOB_STATE_STOPPED: _ClassVar[JobState]

class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_UNSPECIFIED: _ClassVar[Verdict]
    VERDICT_ACCEPTED: _ClassVar[Verdict]
    VERDICT_REJECTED: _ClassVar[Verdict]
JOB_STATE_UNSPECIFIED: JobState
JOB_STATE_PENDING: JobState
JOB_STATE_IN_PROGRESS: JobState
JOB_STATE_ON_REVIEW: JobState
JOB_STATE_COMPLETED: JobState
JOB_STATE_STOPPED: JobState
VERDICT_UNSPECIFIED: Verdict
VERDICT_ACCEPTED: Verdict
VERDICT_REJECTED: Verdict

class OpenLabelingJob(_message.Message):
    __slots__ = ("job", "dataset", "items_digest", "items_count", "predictions", "predictions_tree", "instructions", "classes", "webhook_url", "flow", "actor", "deadline", "shapes", "labelers", "reviewers", "review", "priority", "labelers_per_item", "quorum", "iou_min", "ground_truth_digest", "ground_truth_count", "ground_truth_every", "keeps_filling", "where", "pending", "confidence_min", "notify", "lease_s", "start_empty")
    JOB_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    ITEMS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    ITEMS_COUNT_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_TREE_FIELD_NUMBER: _ClassVar[int]
    INSTRUCTIONS_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    WEBHOOK_URL_FIELD_NUMBER: _ClassVar[int]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    SHAPES_FIELD_NUMBER: _ClassVar[int]
    LABELERS_FIELD_NUMBER: _ClassVar[int]
    REVIEWERS_FIELD_NUMBER: _ClassVar[int]
    REVIEW_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    LABELERS_PER_ITEM_FIELD_NUMBER: _ClassVar[int]
    QUORUM_FIELD_NUMBER: _ClassVar[int]
    IOU_MIN_FIELD_NUMBER: _ClassVar[int]
    GROUND_TRUTH_DIGEST_FIELD_NUMBER: _ClassVar[int]
    GROUND_TRUTH_COUNT_FIELD_NUMBER: _ClassVar[int]
    GROUND_TRUTH_EVERY_FIELD_NUMBER: _ClassVar[int]
    KEEPS_FILLING_FIELD_NUMBER: _ClassVar[int]
    WHERE_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_MIN_FIELD_NUMBER: _ClassVar[int]
    NOTIFY_FIELD_NUMBER: _ClassVar[int]
    LEASE_S_FIELD_NUMBER: _ClassVar[int]
    START_EMPTY_FIELD_NUMBER: _ClassVar[int]
    job: str
    dataset: _lineage_pb2.ArtefactRef
    items_digest: str
    items_count: int
    predictions: _lineage_pb2.ArtefactRef
    predictions_tree: _dataset_pb2.TreeRef
    instructions: str
    classes: _containers.RepeatedScalarFieldContainer[str]
    webhook_url: str
    flow: _lineage_pb2.ArtefactRef
    actor: _lineage_pb2.Actor
    deadline: _timestamp_pb2.Timestamp
    shapes: _containers.RepeatedScalarFieldContainer[str]
    labelers: _containers.RepeatedScalarFieldContainer[str]
    reviewers: _containers.RepeatedScalarFieldContainer[str]
    review: bool
    priority: int
    labelers_per_item: int
    quorum: int
    iou_min: float
    ground_truth_digest: str
    ground_truth_count: int
    ground_truth_every: int
    keeps_filling: bool
    where: str
    pending: bool
    confidence_min: float
    notify: _containers.RepeatedScalarFieldContainer[str]
    lease_s: float
    start_empty: bool
    def __init__(self, job: _Optional[str] = ..., dataset: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., items_digest: _Optional[str] = ..., items_count: _Optional[int] = ..., predictions: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., predictions_tree: _Optional[_Union[_dataset_pb2.TreeRef, _Mapping]] = ..., instructions: _Optional[str] = ..., classes: _Optional[_Iterable[str]] = ..., webhook_url: _Optional[str] = ..., flow: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., actor: _Optional[_Union[_lineage_pb2.Actor, _Mapping]] = ..., deadline: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., shapes: _Optional[_Iterable[str]] = ..., labelers: _Optional[_Iterable[str]] = ..., reviewers: _Optional[_Iterable[str]] = ..., review: bool = ..., priority: _Optional[int] = ..., labelers_per_item: _Optional[int] = ..., quorum: _Optional[int] = ..., iou_min: _Optional[float] = ..., ground_truth_digest: _Optional[str] = ..., ground_truth_count: _Optional[int] = ..., ground_truth_every: _Optional[int] = ..., keeps_filling: bool = ..., where: _Optional[str] = ..., pending: bool = ..., confidence_min: _Optional[float] = ..., notify: _Optional[_Iterable[str]] = ..., lease_s: _Optional[float] = ..., start_empty: bool = ...) -> None: ...

class LabelingJobCommitted(_message.Message):
    __slots__ = ("commit", "state", "specification", "addition", "items_total", "reopened", "reopened_assets")
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SPECIFICATION_FIELD_NUMBER: _ClassVar[int]
    ADDITION_FIELD_NUMBER: _ClassVar[int]
    ITEMS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    REOPENED_FIELD_NUMBER: _ClassVar[int]
    REOPENED_ASSETS_FIELD_NUMBER: _ClassVar[int]
    commit: _lineage_pb2.Commit
    state: JobState
    specification: OpenLabelingJob
    addition: OpenLabelingJob
    items_total: int
    reopened: bool
    reopened_assets: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, commit: _Optional[_Union[_lineage_pb2.Commit, _Mapping]] = ..., state: _Optional[_Union[JobState, str]] = ..., specification: _Optional[_Union[OpenLabelingJob, _Mapping]] = ..., addition: _Optional[_Union[OpenLabelingJob, _Mapping]] = ..., items_total: _Optional[int] = ..., reopened: bool = ..., reopened_assets: _Optional[_Iterable[str]] = ...) -> None: ...

class LabelsSubmitted(_message.Message):
    __slots__ = ("commit", "job", "asset", "labeler", "shapes", "spent_s", "tags", "shape_spent_s", "shown", "shown_by", "by_reviewer", "ground_truth")
    class ShapeSpentSEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    ASSET_FIELD_NUMBER: _ClassVar[int]
    LABELER_FIELD_NUMBER: _ClassVar[int]
    SHAPES_FIELD_NUMBER: _ClassVar[int]
    SPENT_S_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    SHAPE_SPENT_S_FIELD_NUMBER: _ClassVar[int]
    SHOWN_FIELD_NUMBER: _ClassVar[int]
    SHOWN_BY_FIELD_NUMBER: _ClassVar[int]
    BY_REVIEWER_FIELD_NUMBER: _ClassVar[int]
    GROUND_TRUTH_FIELD_NUMBER: _ClassVar[int]
    commit: _lineage_pb2.Commit
    job: str
    asset: str
    labeler: str
    shapes: _containers.RepeatedCompositeFieldContainer[_annotation_pb2.Shape]
    spent_s: float
    tags: _containers.RepeatedScalarFieldContainer[str]
    shape_spent_s: _containers.ScalarMap[str, float]
    shown: _containers.RepeatedCompositeFieldContainer[_annotation_pb2.Shape]
    shown_by: _lineage_pb2.ArtefactRef
    by_reviewer: bool
    ground_truth: bool
    def __init__(self, commit: _Optional[_Union[_lineage_pb2.Commit, _Mapping]] = ..., job: _Optional[str] = ..., asset: _Optional[str] = ..., labeler: _Optional[str] = ..., shapes: _Optional[_Iterable[_Union[_annotation_pb2.Shape, _Mapping]]] = ..., spent_s: _Optional[float] = ..., tags: _Optional[_Iterable[str]] = ..., shape_spent_s: _Optional[_Mapping[str, float]] = ..., shown: _Optional[_Iterable[_Union[_annotation_pb2.Shape, _Mapping]]] = ..., shown_by: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., by_reviewer: bool = ..., ground_truth: bool = ...) -> None: ...

class ItemReviewed(_message.Message):
    __slots__ = ("commit", "job", "asset", "reviewer", "verdict", "comment", "labels_version", "spent_s")
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    ASSET_FIELD_NUMBER: _ClassVar[int]
    REVIEWER_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    LABELS_VERSION_FIELD_NUMBER: _ClassVar[int]
    SPENT_S_FIELD_NUMBER: _ClassVar[int]
    commit: _lineage_pb2.Commit
    job: str
    asset: str
    reviewer: str
    verdict: Verdict
    comment: str
    labels_version: int
    spent_s: float
    def __init__(self, commit: _Optional[_Union[_lineage_pb2.Commit, _Mapping]] = ..., job: _Optional[str] = ..., asset: _Optional[str] = ..., reviewer: _Optional[str] = ..., verdict: _Optional[_Union[Verdict, str]] = ..., comment: _Optional[str] = ..., labels_version: _Optional[int] = ..., spent_s: _Optional[float] = ...) -> None: ...

class SendNotification(_message.Message):
    __slots__ = ("job", "version", "receiver", "redelivery")
    JOB_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RECEIVER_FIELD_NUMBER: _ClassVar[int]
    REDELIVERY_FIELD_NUMBER: _ClassVar[int]
    job: str
    version: int
    receiver: str
    redelivery: str
    def __init__(self, job: _Optional[str] = ..., version: _Optional[int] = ..., receiver: _Optional[str] = ..., redelivery: _Optional[str] = ...) -> None: ...

class NotificationSent(_message.Message):
    __slots__ = ("job", "url", "outcome", "attempts", "detail", "id", "type", "version")
    JOB_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    job: str
    url: str
    outcome: str
    attempts: int
    detail: str
    id: str
    type: str
    version: int
    def __init__(self, job: _Optional[str] = ..., url: _Optional[str] = ..., outcome: _Optional[str] = ..., attempts: _Optional[int] = ..., detail: _Optional[str] = ..., id: _Optional[str] = ..., type: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...
