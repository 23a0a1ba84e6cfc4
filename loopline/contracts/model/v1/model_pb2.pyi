from google.protobuf import struct_pb2 as _struct_pb2
from loopline.contracts.lineage.v1 import lineage_pb2 as _lineage_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TrainModel(_message.Message):
    __slots__ = ("model", "recipe", "parameters", "dataset", "flow", "actor")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    model: str
    recipe: str
    parameters: _struct_pb2.Struct
    dataset: _lineage_pb2.ArtefactRef
    flow: _lineage_pb2.ArtefactRef
    actor: _lineage_pb2.Actor
    def __init__(self, model: _Optional[str] = ..., recipe: _Optional[str] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., dataset: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., flow: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., actor: _Optional[_Union[_lineage_pb2.Actor, _Mapping]] = ...) -> None: ...

class Preprocessing(_message.Message):
    __slots__ = ("height_px", "width_px", "channels", "mean", "std", "interpolation", "fit")
    HEIGHT_PX_FIELD_NUMBER: _ClassVar[int]
    WIDTH_PX_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    STD_FIELD_NUMBER: _ClassVar[int]
    INTERPOLATION_FIELD_NUMBER: _ClassVar[int]
    FIT_FIELD_NUMBER: _ClassVar[int]
    height_px: int
    width_px: int
    channels: int
    mean: _containers.RepeatedScalarFieldContainer[float]
    std: _containers.RepeatedScalarFieldContainer[float]
    interpolation: str
    fit: str
    def __init__(self, height_px: _Optional[int] = ..., width_px: _Optional[int] = ..., channels: _Optional[int] = ..., mean: _Optional[_Iterable[float]] = ..., std: _Optional[_Iterable[float]] = ..., interpolation: _Optional[str] = ..., fit: _Optional[str] = ...) -> None: ...

class ModelFile(_message.Message):
    __slots__ = ("name", "digest", "size_bytes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    digest: str
    size_bytes: int
    def __init__(self, name: _Optional[str] = ..., digest: _Optional[str] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class Evaluation(_message.Message):
    __slots__ = ("split", "split_digest", "count", "metrics", "report_digest", "outcomes_digest", "page_digest")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    SPLIT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    REPORT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PAGE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    split: str
    split_digest: str
    count: int
    metrics: _containers.ScalarMap[str, float]
    report_digest: str
    outcomes_digest: str
    page_digest: str
    def __init__(self, split: _Optional[str] = ..., split_digest: _Optional[str] = ..., count: _Optional[int] = ..., metrics: _Optional[_Mapping[str, float]] = ..., report_digest: _Optional[str] = ..., outcomes_digest: _Optional[str] = ..., page_digest: _Optional[str] = ...) -> None: ...

class ModelCommitted(_message.Message):
    __slots__ = ("commit", "task", "recipe", "classes", "preprocessing", "files", "evaluations")
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    PREPROCESSING_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    EVALUATIONS_FIELD_NUMBER: _ClassVar[int]
    commit: _lineage_pb2.Commit
    task: str
    recipe: str
    classes: _containers.RepeatedScalarFieldContainer[str]
    preprocessing: Preprocessing
    files: _containers.RepeatedCompositeFieldContainer[ModelFile]
    evaluations: _containers.RepeatedCompositeFieldContainer[Evaluation]
    def __init__(self, commit: _Optional[_Union[_lineage_pb2.Commit, _Mapping]] = ..., task: _Optional[str] = ..., recipe: _Optional[str] = ..., classes: _Optional[_Iterable[str]] = ..., preprocessing: _Optional[_Union[Preprocessing, _Mapping]] = ..., files: _Optional[_Iterable[_Union[ModelFile, _Mapping]]] = ..., evaluations: _Optional[_Iterable[_Union[Evaluation, _Mapping]]] = ...) -> None: ...

class Rollout(_message.Message):
    __slots__ = ("candidate", "canary", "shadow")
    CANDIDATE_FIELD_NUMBER: _ClassVar[int]
    CANARY_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    candidate: _lineage_pb2.ArtefactRef
    canary: float
    shadow: float
    def __init__(self, candidate: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., canary: _Optional[float] = ..., shadow: _Optional[float] = ...) -> None: ...

class RolloutReported(_message.Message):
    __slots__ = ("model", "alias", "target", "rollout", "counts", "agent")
    class CountsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    model: str
    alias: str
    target: _lineage_pb2.ArtefactRef
    rollout: Rollout
    counts: _containers.ScalarMap[str, int]
    agent: _lineage_pb2.Agent
    def __init__(self, model: _Optional[str] = ..., alias: _Optional[str] = ..., target: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., rollout: _Optional[_Union[Rollout, _Mapping]] = ..., counts: _Optional[_Mapping[str, int]] = ..., agent: _Optional[_Union[_lineage_pb2.Agent, _Mapping]] = ...) -> None: ...

class AliasMoved(_message.Message):
    __slots__ = ("commit", "model", "alias", "target", "previous", "reason", "rollout")
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    commit: _lineage_pb2.Commit
    model: str
    alias: str
    target: _lineage_pb2.ArtefactRef
    previous: _lineage_pb2.ArtefactRef
    reason: str
    rollout: Rollout
    def __init__(self, commit: _Optional[_Union[_lineage_pb2.Commit, _Mapping]] = ..., model: _Optional[str] = ..., alias: _Optional[str] = ..., target: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., previous: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., reason: _Optional[str] = ..., rollout: _Optional[_Union[Rollout, _Mapping]] = ...) -> None: ...

class PromotionDeclined(_message.Message):
    __slots__ = ("candidate", "champion", "alias", "reason", "flow")
    CANDIDATE_FIELD_NUMBER: _ClassVar[int]
    CHAMPION_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    candidate: _lineage_pb2.ArtefactRef
    champion: _lineage_pb2.ArtefactRef
    alias: str
    reason: str
    flow: _lineage_pb2.ArtefactRef
    def __init__(self, candidate: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., champion: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., alias: _Optional[str] = ..., reason: _Optional[str] = ..., flow: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ...) -> None: ...
