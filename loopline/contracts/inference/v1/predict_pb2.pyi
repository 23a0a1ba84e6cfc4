from loopline.contracts.dataset.v1 import annotation_pb2 as _annotation_pb2
from loopline.contracts.lineage.v1 import lineage_pb2 as _lineage_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PredictRequest(_message.Message):
    __slots__ = ("model", "version", "images", "id", "unrecorded")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    UNRECORDED_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    images: _containers.RepeatedScalarFieldContainer[bytes]
    id: str
    unrecorded: bool
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ..., images: _Optional[_Iterable[bytes]] = ..., id: _Optional[str] = ..., unrecorded: bool = ...) -> None: ...

class ClassScore(_message.Message):
    __slots__ = ("class_name", "score")
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    class_name: str
    score: float
    def __init__(self, class_name: _Optional[str] = ..., score: _Optional[float] = ...) -> None: ...

class ImagePrediction(_message.Message):
    __slots__ = ("asset", "shapes", "class_name", "confidence", "scores", "error", "crops")
    ASSET_FIELD_NUMBER: _ClassVar[int]
    SHAPES_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CROPS_FIELD_NUMBER: _ClassVar[int]
    asset: str
    shapes: _containers.RepeatedCompositeFieldContainer[_annotation_pb2.Shape]
    class_name: str
    confidence: float
    scores: _containers.RepeatedCompositeFieldContainer[ClassScore]
    error: str
    crops: _containers.RepeatedCompositeFieldContainer[ClassScore]
    def __init__(self, asset: _Optional[str] = ..., shapes: _Optional[_Iterable[_Union[_annotation_pb2.Shape, _Mapping]]] = ..., class_name: _Optional[str] = ..., confidence: _Optional[float] = ..., scores: _Optional[_Iterable[_Union[ClassScore, _Mapping]]] = ..., error: _Optional[str] = ..., crops: _Optional[_Iterable[_Union[ClassScore, _Mapping]]] = ...) -> None: ...

class PredictResponse(_message.Message):
    __slots__ = ("model", "predictions", "id", "steps")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    model: _lineage_pb2.ArtefactRef
    predictions: _containers.RepeatedCompositeFieldContainer[ImagePrediction]
    id: str
    steps: _containers.RepeatedCompositeFieldContainer[_lineage_pb2.ArtefactRef]
    def __init__(self, model: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., predictions: _Optional[_Iterable[_Union[ImagePrediction, _Mapping]]] = ..., id: _Optional[str] = ..., steps: _Optional[_Iterable[_Union[_lineage_pb2.ArtefactRef, _Mapping]]] = ...) -> None: ...
