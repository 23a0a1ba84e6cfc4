from loopline.contracts.lineage.v1 import lineage_pb2 as _lineage_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TreeRef(_message.Message):
    __slots__ = ("digest", "root_object", "count")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    ROOT_OBJECT_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    digest: str
    root_object: str
    count: int
    def __init__(self, digest: _Optional[str] = ..., root_object: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class DatasetCommitted(_message.Message):
    __slots__ = ("commit", "tree", "statistics", "tags", "classes", "test_split_digest", "changes")
    class StatisticsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class ChangesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    TREE_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    TEST_SPLIT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    commit: _lineage_pb2.Commit
    tree: TreeRef
    statistics: _containers.ScalarMap[str, int]
    tags: _containers.ScalarMap[str, int]
    classes: _containers.RepeatedScalarFieldContainer[str]
    test_split_digest: str
    changes: _containers.ScalarMap[str, int]
    def __init__(self, commit: _Optional[_Union[_lineage_pb2.Commit, _Mapping]] = ..., tree: _Optional[_Union[TreeRef, _Mapping]] = ..., statistics: _Optional[_Mapping[str, int]] = ..., tags: _Optional[_Mapping[str, int]] = ..., classes: _Optional[_Iterable[str]] = ..., test_split_digest: _Optional[str] = ..., changes: _Optional[_Mapping[str, int]] = ...) -> None: ...
