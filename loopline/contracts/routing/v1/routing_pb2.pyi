from loopline.contracts.dataset.v1 import dataset_pb2 as _dataset_pb2
from loopline.contracts.ingest.v1 import ingest_pb2 as _ingest_pb2
from loopline.contracts.lineage.v1 import lineage_pb2 as _lineage_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RouteChunk(_message.Message):
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

class JoinRouting(_message.Message):
    __slots__ = ("run_id", "plan_digest")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    PLAN_DIGEST_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    plan_digest: str
    def __init__(self, run_id: _Optional[str] = ..., plan_digest: _Optional[str] = ...) -> None: ...

class DeliveryCommitted(_message.Message):
    __slots__ = ("commit", "destination", "tree", "delivered", "relabeled", "unrouted")
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    TREE_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_FIELD_NUMBER: _ClassVar[int]
    RELABELED_FIELD_NUMBER: _ClassVar[int]
    UNROUTED_FIELD_NUMBER: _ClassVar[int]
    commit: _lineage_pb2.Commit
    destination: _ingest_pb2.BucketLocation
    tree: _dataset_pb2.TreeRef
    delivered: int
    relabeled: int
    unrouted: int
    def __init__(self, commit: _Optional[_Union[_lineage_pb2.Commit, _Mapping]] = ..., destination: _Optional[_Union[_ingest_pb2.BucketLocation, _Mapping]] = ..., tree: _Optional[_Union[_dataset_pb2.TreeRef, _Mapping]] = ..., delivered: _Optional[int] = ..., relabeled: _Optional[int] = ..., unrouted: _Optional[int] = ...) -> None: ...
