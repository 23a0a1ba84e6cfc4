from google.protobuf import struct_pb2 as _struct_pb2
from loopline.contracts.lineage.v1 import lineage_pb2 as _lineage_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ReproduceModel(_message.Message):
    __slots__ = ("model", "changes", "dataset", "actor")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    model: _lineage_pb2.ArtefactRef
    changes: _struct_pb2.Struct
    dataset: _lineage_pb2.ArtefactRef
    actor: _lineage_pb2.Actor
    def __init__(self, model: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., changes: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., dataset: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., actor: _Optional[_Union[_lineage_pb2.Actor, _Mapping]] = ...) -> None: ...

class Difference(_message.Message):
    __slots__ = ("what", "was", "now")
    WHAT_FIELD_NUMBER: _ClassVar[int]
    WAS_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    what: str
    was: str
    now: str
    def __init__(self, what: _Optional[str] = ..., was: _Optional[str] = ..., now: _Optional[str] = ...) -> None: ...

class ReproductionCommitted(_message.Message):
    __slots__ = ("commit", "model", "is_identical", "causes", "effects", "weights_digest", "metrics")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IS_IDENTICAL_FIELD_NUMBER: _ClassVar[int]
    CAUSES_FIELD_NUMBER: _ClassVar[int]
    EFFECTS_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    commit: _lineage_pb2.Commit
    model: _lineage_pb2.ArtefactRef
    is_identical: bool
    causes: _containers.RepeatedCompositeFieldContainer[Difference]
    effects: _containers.RepeatedCompositeFieldContainer[Difference]
    weights_digest: str
    metrics: _containers.ScalarMap[str, float]
    def __init__(self, commit: _Optional[_Union[_lineage_pb2.Commit, _Mapping]] = ..., model: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., is_identical: bool = ..., causes: _Optional[_Iterable[_Union[Difference, _Mapping]]] = ..., effects: _Optional[_Iterable[_Union[Difference, _Mapping]]] = ..., weights_digest: _Optional[str] = ..., metrics: _Optional[_Mapping[str, float]] = ...) -> None: ...
