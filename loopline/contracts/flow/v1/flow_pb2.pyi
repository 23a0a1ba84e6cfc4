from loopline.contracts.lineage.v1 import lineage_pb2 as _lineage_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FlowCommitted(_message.Message):
    __slots__ = ("commit", "document")
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    commit: _lineage_pb2.Commit
    document: str
    def __init__(self, commit: _Optional[_Union[_lineage_pb2.Commit, _Mapping]] = ..., document: _Optional[str] = ...) -> None: ...
