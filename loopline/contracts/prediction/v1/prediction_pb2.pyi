from loopline.contracts.dataset.v1 import annotation_pb2 as _annotation_pb2
from loopline.contracts.dataset.v1 import dataset_pb2 as _dataset_pb2
from loopline.contracts.lineage.v1 import lineage_pb2 as _lineage_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ApplyModel(_message.Message):
    __slots__ = ("model", "dataset", "where", "flow", "actor", "since")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    WHERE_FIELD_NUMBER: _ClassVar[int]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    model: _lineage_pb2.ArtefactRef
    dataset: _lineage_pb2.ArtefactRef
    where: str
    flow: _lineage_pb2.ArtefactRef
    actor: _lineage_pb2.Actor
    since: _lineage_pb2.ArtefactRef
    def __init__(self, model: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., dataset: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., where: _Optional[str] = ..., flow: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., actor: _Optional[_Union[_lineage_pb2.Actor, _Mapping]] = ..., since: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ...) -> None: ...

class SampledImage(_message.Message):
    __slots__ = ("asset", "media_type", "size_bytes", "width_px", "height_px", "shapes", "scores")
    ASSET_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    WIDTH_PX_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_PX_FIELD_NUMBER: _ClassVar[int]
    SHAPES_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    asset: str
    media_type: str
    size_bytes: int
    width_px: int
    height_px: int
    shapes: _containers.RepeatedCompositeFieldContainer[_annotation_pb2.Shape]
    scores: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, asset: _Optional[str] = ..., media_type: _Optional[str] = ..., size_bytes: _Optional[int] = ..., width_px: _Optional[int] = ..., height_px: _Optional[int] = ..., shapes: _Optional[_Iterable[_Union[_annotation_pb2.Shape, _Mapping]]] = ..., scores: _Optional[_Iterable[float]] = ...) -> None: ...

class RequestsSampled(_message.Message):
    __slots__ = ("model", "task", "classes", "images", "agent", "dropped")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    model: _lineage_pb2.ArtefactRef
    task: str
    classes: _containers.RepeatedScalarFieldContainer[str]
    images: _containers.RepeatedCompositeFieldContainer[SampledImage]
    agent: _lineage_pb2.Agent
    dropped: int
    def __init__(self, model: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., task: _Optional[str] = ..., classes: _Optional[_Iterable[str]] = ..., images: _Optional[_Iterable[_Union[SampledImage, _Mapping]]] = ..., agent: _Optional[_Union[_lineage_pb2.Agent, _Mapping]] = ..., dropped: _Optional[int] = ...) -> None: ...

class PredictChunk(_message.Message):
    __slots__ = ("run_id", "plan_digest", "index", "total")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    PLAN_DIGEST_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    plan_digest: str
    index: int
    total: int
    def __init__(self, run_id: _Optional[str] = ..., plan_digest: _Optional[str] = ..., index: _Optional[int] = ..., total: _Optional[int] = ...) -> None: ...

class JoinPredictions(_message.Message):
    __slots__ = ("run_id", "plan_digest")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    PLAN_DIGEST_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    plan_digest: str
    def __init__(self, run_id: _Optional[str] = ..., plan_digest: _Optional[str] = ...) -> None: ...

class PredictionsCommitted(_message.Message):
    __slots__ = ("commit", "model", "dataset", "tree", "selection_digest", "selected", "inferred", "flow")
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    TREE_FIELD_NUMBER: _ClassVar[int]
    SELECTION_DIGEST_FIELD_NUMBER: _ClassVar[int]
    SELECTED_FIELD_NUMBER: _ClassVar[int]
    INFERRED_FIELD_NUMBER: _ClassVar[int]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    commit: _lineage_pb2.Commit
    model: _lineage_pb2.ArtefactRef
    dataset: _lineage_pb2.ArtefactRef
    tree: _dataset_pb2.TreeRef
    selection_digest: str
    selected: int
    inferred: int
    flow: _lineage_pb2.ArtefactRef
    def __init__(self, commit: _Optional[_Union[_lineage_pb2.Commit, _Mapping]] = ..., model: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., dataset: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., tree: _Optional[_Union[_dataset_pb2.TreeRef, _Mapping]] = ..., selection_digest: _Optional[str] = ..., selected: _Optional[int] = ..., inferred: _Optional[int] = ..., flow: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ...) -> None: ...
