from google.protobuf import struct_pb2 as _struct_pb2
from loopline.contracts.lineage.v1 import lineage_pb2 as _lineage_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BucketLocation(_message.Message):
    __slots__ = ("connection", "bucket", "prefix")
    CONNECTION_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    connection: str
    bucket: str
    prefix: str
    def __init__(self, connection: _Optional[str] = ..., bucket: _Optional[str] = ..., prefix: _Optional[str] = ...) -> None: ...

class ImportRules(_message.Message):
    __slots__ = ("min_side_px", "max_megapixels", "drop_near_duplicates", "near_duplicate_bits")
    MIN_SIDE_PX_FIELD_NUMBER: _ClassVar[int]
    MAX_MEGAPIXELS_FIELD_NUMBER: _ClassVar[int]
    DROP_NEAR_DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    NEAR_DUPLICATE_BITS_FIELD_NUMBER: _ClassVar[int]
    min_side_px: int
    max_megapixels: int
    drop_near_duplicates: bool
    near_duplicate_bits: int
    def __init__(self, min_side_px: _Optional[int] = ..., max_megapixels: _Optional[int] = ..., drop_near_duplicates: bool = ..., near_duplicate_bits: _Optional[int] = ...) -> None: ...

class ImportImages(_message.Message):
    __slots__ = ("dataset", "source", "labels_key", "rules", "classes", "actor")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    LABELS_KEY_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    source: BucketLocation
    labels_key: str
    rules: ImportRules
    classes: _containers.RepeatedScalarFieldContainer[str]
    actor: _lineage_pb2.Actor
    def __init__(self, dataset: _Optional[str] = ..., source: _Optional[_Union[BucketLocation, _Mapping]] = ..., labels_key: _Optional[str] = ..., rules: _Optional[_Union[ImportRules, _Mapping]] = ..., classes: _Optional[_Iterable[str]] = ..., actor: _Optional[_Union[_lineage_pb2.Actor, _Mapping]] = ...) -> None: ...

class ImportChunk(_message.Message):
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

class JoinImport(_message.Message):
    __slots__ = ("run_id", "plan_digest")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    PLAN_DIGEST_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    plan_digest: str
    def __init__(self, run_id: _Optional[str] = ..., plan_digest: _Optional[str] = ...) -> None: ...

class AugmentDataset(_message.Message):
    __slots__ = ("dataset", "source", "parameters", "copies", "seed", "split", "actor")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    COPIES_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    source: _lineage_pb2.ArtefactRef
    parameters: _struct_pb2.Struct
    copies: int
    seed: int
    split: str
    actor: _lineage_pb2.Actor
    def __init__(self, dataset: _Optional[str] = ..., source: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., copies: _Optional[int] = ..., seed: _Optional[int] = ..., split: _Optional[str] = ..., actor: _Optional[_Union[_lineage_pb2.Actor, _Mapping]] = ...) -> None: ...
