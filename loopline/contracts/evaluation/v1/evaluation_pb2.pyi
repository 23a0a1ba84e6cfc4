from loopline.contracts.lineage.v1 import lineage_pb2 as _lineage_pb2
from loopline.contracts.model.v1 import model_pb2 as _model_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EvaluateModel(_message.Message):
    __slots__ = ("model", "dataset", "split", "actor")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    model: _lineage_pb2.ArtefactRef
    dataset: _lineage_pb2.ArtefactRef
    split: str
    actor: _lineage_pb2.Actor
    def __init__(self, model: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., dataset: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., split: _Optional[str] = ..., actor: _Optional[_Union[_lineage_pb2.Actor, _Mapping]] = ...) -> None: ...

class EvaluationCommitted(_message.Message):
    __slots__ = ("commit", "model", "dataset", "task", "evaluation")
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    EVALUATION_FIELD_NUMBER: _ClassVar[int]
    commit: _lineage_pb2.Commit
    model: _lineage_pb2.ArtefactRef
    dataset: _lineage_pb2.ArtefactRef
    task: str
    evaluation: _model_pb2.Evaluation
    def __init__(self, commit: _Optional[_Union[_lineage_pb2.Commit, _Mapping]] = ..., model: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., dataset: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., task: _Optional[str] = ..., evaluation: _Optional[_Union[_model_pb2.Evaluation, _Mapping]] = ...) -> None: ...

class QuantizeModel(_message.Message):
    __slots__ = ("model", "dataset", "calibration_images", "actor")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_IMAGES_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    model: _lineage_pb2.ArtefactRef
    dataset: _lineage_pb2.ArtefactRef
    calibration_images: int
    actor: _lineage_pb2.Actor
    def __init__(self, model: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., dataset: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., calibration_images: _Optional[int] = ..., actor: _Optional[_Union[_lineage_pb2.Actor, _Mapping]] = ...) -> None: ...
