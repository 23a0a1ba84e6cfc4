import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from loopline.contracts.lineage.v1 import lineage_pb2 as _lineage_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RunState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUN_STATE_UNSPECIFIED: _ClassVar[RunState]
    RUN_STATE_QUEUED: _ClassVar[RunState]
    RUN_STATE_RUNNING: _ClassVar[RunState]
    RUN_STATE_COMPLETED: _ClassVar[RunState]
    RUN_STATE_FAILED: _ClassVar[RunState]
    RUN_STATE_CANCELLED: _ClassVar[RunState]
RUN_STATE_UNSPECIFIED: RunState
RUN_STATE_QUEUED: RunState
RUN_STATE_RUNNING: RunState
RUN_STATE_COMPLETED: RunState
RUN_STATE_FAILED: RunState
RUN_STATE_CANCELLED: RunState

class Checkpoint(_message.Message):
    __slots__ = ("step", "epoch", "digest", "size_bytes", "is_best")
    STEP_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    IS_BEST_FIELD_NUMBER: _ClassVar[int]
    step: int
    epoch: int
    digest: str
    size_bytes: int
    is_best: bool
    def __init__(self, step: _Optional[int] = ..., epoch: _Optional[int] = ..., digest: _Optional[str] = ..., size_bytes: _Optional[int] = ..., is_best: bool = ...) -> None: ...

class TrainingProgress(_message.Message):
    __slots__ = ("epoch", "epochs", "step", "steps", "loss", "metrics", "images_per_s", "eta_s", "learning_rate", "checkpoints")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    IMAGES_PER_S_FIELD_NUMBER: _ClassVar[int]
    ETA_S_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    metrics: _containers.ScalarMap[str, float]
    images_per_s: float
    eta_s: float
    learning_rate: float
    checkpoints: _containers.RepeatedCompositeFieldContainer[Checkpoint]
    def __init__(self, epoch: _Optional[int] = ..., epochs: _Optional[int] = ..., step: _Optional[int] = ..., steps: _Optional[int] = ..., loss: _Optional[float] = ..., metrics: _Optional[_Mapping[str, float]] = ..., images_per_s: _Optional[float] = ..., eta_s: _Optional[float] = ..., learning_rate: _Optional[float] = ..., checkpoints: _Optional[_Iterable[_Union[Checkpoint, _Mapping]]] = ...) -> None: ...

class RunChanged(_message.Message):
    __slots__ = ("run_id", "kind", "state", "title", "done", "total", "unit", "figures", "message", "agent", "artefact", "at", "command_id", "training", "command", "command_type")
    class FiguresEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    FIGURES_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    ARTEFACT_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    TRAINING_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    COMMAND_TYPE_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    kind: _lineage_pb2.RunKind
    state: RunState
    title: str
    done: int
    total: int
    unit: str
    figures: _containers.ScalarMap[str, float]
    message: str
    agent: _lineage_pb2.Agent
    artefact: _lineage_pb2.ArtefactRef
    at: _timestamp_pb2.Timestamp
    command_id: str
    training: TrainingProgress
    command: bytes
    command_type: str
    def __init__(self, run_id: _Optional[str] = ..., kind: _Optional[_Union[_lineage_pb2.RunKind, str]] = ..., state: _Optional[_Union[RunState, str]] = ..., title: _Optional[str] = ..., done: _Optional[int] = ..., total: _Optional[int] = ..., unit: _Optional[str] = ..., figures: _Optional[_Mapping[str, float]] = ..., message: _Optional[str] = ..., agent: _Optional[_Union[_lineage_pb2.Agent, _Mapping]] = ..., artefact: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., command_id: _Optional[str] = ..., training: _Optional[_Union[TrainingProgress, _Mapping]] = ..., command: _Optional[bytes] = ..., command_type: _Optional[str] = ...) -> None: ...

class CancelRun(_message.Message):
    __slots__ = ("run_id", "command_id", "actor", "reason")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    command_id: str
    actor: _lineage_pb2.Actor
    reason: str
    def __init__(self, run_id: _Optional[str] = ..., command_id: _Optional[str] = ..., actor: _Optional[_Union[_lineage_pb2.Actor, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class ChunkCompleted(_message.Message):
    __slots__ = ("run_id", "index", "total", "result_digest", "agent", "counts")
    class CountsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    RESULT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    index: int
    total: int
    result_digest: str
    agent: _lineage_pb2.Agent
    counts: _containers.ScalarMap[str, int]
    def __init__(self, run_id: _Optional[str] = ..., index: _Optional[int] = ..., total: _Optional[int] = ..., result_digest: _Optional[str] = ..., agent: _Optional[_Union[_lineage_pb2.Agent, _Mapping]] = ..., counts: _Optional[_Mapping[str, int]] = ...) -> None: ...
