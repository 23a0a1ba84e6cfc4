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
JOB_STATE_UNSPECIFIED: JobState
JOB_STATE_PENDING: JobState
JOB_STATE_IN_PROGRESS: JobState
JOB_STATE_ON_REVIEW: JobState
JOB_STATE_COMPLETED: JobState
JOB_STATE_STOPPED: JobState

class OpenLabelingJob(_message.Message):
    __slots__ = ("job", "dataset", "items_digest", "items_count", "predictions", "predictions_tree", "instructions", "classes", "webhook_url", "flow", "actor", "deadline")
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
    def __init__(self, job: _Optional[str] = ..., dataset: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., items_digest: _Optional[str] = ..., items_count: _Optional[int] = ..., predictions: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., predictions_tree: _Optional[_Union[_dataset_pb2.TreeRef, _Mapping]] = ..., instructions: _Optional[str] = ..., classes: _Optional[_Iterable[str]] = ..., webhook_url: _Optional[str] = ..., flow: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., actor: _Optional[_Union[_lineage_pb2.Actor, _Mapping]] = ..., deadline: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class LabelingJobCommitted(_message.Message):
    __slots__ = ("commit", "state", "specification")
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SPECIFICATION_FIELD_NUMBER: _ClassVar[int]
    commit: _lineage_pb2.Commit
    state: JobState
    specification: OpenLabelingJob
    def __init__(self, commit: _Optional[_Union[_lineage_pb2.Commit, _Mapping]] = ..., state: _Optional[_Union[JobState, str]] = ..., specification: _Optional[_Union[OpenLabelingJob, _Mapping]] = ...) -> None: ...

class LabelsSubmitted(_message.Message):
    __slots__ = ("commit", "job", "asset", "labeler", "shapes", "spent_s")
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    ASSET_FIELD_NUMBER: _ClassVar[int]
    LABELER_FIELD_NUMBER: _ClassVar[int]
    SHAPES_FIELD_NUMBER: _ClassVar[int]
    SPENT_S_FIELD_NUMBER: _ClassVar[int]
    commit: _lineage_pb2.Commit
    job: str
    asset: str
    labeler: str
    shapes: _containers.RepeatedCompositeFieldContainer[_annotation_pb2.Shape]
    spent_s: float
    def __init__(self, commit: _Optional[_Union[_lineage_pb2.Commit, _Mapping]] = ..., job: _Optional[str] = ..., asset: _Optional[str] = ..., labeler: _Optional[str] = ..., shapes: _Optional[_Iterable[_Union[_annotation_pb2.Shape, _Mapping]]] = ..., spent_s: _Optional[float] = ...) -> None: ...

class NotificationSent(_message.Message):
    __slots__ = ("job", "url", "outcome", "attempts", "detail")
    JOB_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    job: str
    url: str
    outcome: str
    attempts: int
    detail: str
    def __init__(self, job: _Optional[str] = ..., url: _Optional[str] = ..., outcome: _Optional[str] = ..., attempts: _Optional[int] = ..., detail: _Optional[str] = ...) -> None: ...
