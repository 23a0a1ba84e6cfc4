import datetime

from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from loopline.contracts.lineage.v1 import lineage_pb2 as _lineage_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Device(_message.Message):
    __slots__ = ("kind", "name", "memory_bytes", "cores")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    CORES_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    memory_bytes: int
    cores: int
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., memory_bytes: _Optional[int] = ..., cores: _Optional[int] = ...) -> None: ...

class RunningWork(_message.Message):
    __slots__ = ("run_id", "kind", "title", "since", "command_id")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    kind: _lineage_pb2.RunKind
    title: str
    since: _timestamp_pb2.Timestamp
    command_id: str
    def __init__(self, run_id: _Optional[str] = ..., kind: _Optional[_Union[_lineage_pb2.RunKind, str]] = ..., title: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., command_id: _Optional[str] = ...) -> None: ...

class Team(_message.Message):
    __slots__ = ("id", "run_id", "kind", "title", "attempt", "nodes", "members", "since", "pool", "rendezvous", "recipe", "parameters", "code_digest", "dataset", "model")
    ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    RENDEZVOUS_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    CODE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    id: str
    run_id: str
    kind: _lineage_pb2.RunKind
    title: str
    attempt: int
    nodes: int
    members: _containers.RepeatedCompositeFieldContainer[_lineage_pb2.Agent]
    since: _timestamp_pb2.Timestamp
    pool: str
    rendezvous: str
    recipe: str
    parameters: _struct_pb2.Struct
    code_digest: str
    dataset: _lineage_pb2.ArtefactRef
    model: str
    def __init__(self, id: _Optional[str] = ..., run_id: _Optional[str] = ..., kind: _Optional[_Union[_lineage_pb2.RunKind, str]] = ..., title: _Optional[str] = ..., attempt: _Optional[int] = ..., nodes: _Optional[int] = ..., members: _Optional[_Iterable[_Union[_lineage_pb2.Agent, _Mapping]]] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., pool: _Optional[str] = ..., rendezvous: _Optional[str] = ..., recipe: _Optional[str] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., code_digest: _Optional[str] = ..., dataset: _Optional[_Union[_lineage_pb2.ArtefactRef, _Mapping]] = ..., model: _Optional[str] = ...) -> None: ...

class Membership(_message.Message):
    __slots__ = ("team", "is_done", "failure", "is_final")
    TEAM_FIELD_NUMBER: _ClassVar[int]
    IS_DONE_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    IS_FINAL_FIELD_NUMBER: _ClassVar[int]
    team: str
    is_done: bool
    failure: str
    is_final: bool
    def __init__(self, team: _Optional[str] = ..., is_done: bool = ..., failure: _Optional[str] = ..., is_final: bool = ...) -> None: ...

class AgentReported(_message.Message):
    __slots__ = ("agent", "kind", "labels", "pools", "devices", "capacity", "running", "load", "version", "started_at", "at", "every_s", "leaving", "leads", "joined")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class LoadEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    AGENT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    POOLS_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    EVERY_S_FIELD_NUMBER: _ClassVar[int]
    LEAVING_FIELD_NUMBER: _ClassVar[int]
    LEADS_FIELD_NUMBER: _ClassVar[int]
    JOINED_FIELD_NUMBER: _ClassVar[int]
    agent: _lineage_pb2.Agent
    kind: str
    labels: _containers.ScalarMap[str, str]
    pools: _containers.RepeatedScalarFieldContainer[str]
    devices: _containers.RepeatedCompositeFieldContainer[Device]
    capacity: int
    running: _containers.RepeatedCompositeFieldContainer[RunningWork]
    load: _containers.ScalarMap[str, float]
    version: str
    started_at: _timestamp_pb2.Timestamp
    at: _timestamp_pb2.Timestamp
    every_s: float
    leaving: bool
    leads: Team
    joined: Membership
    def __init__(self, agent: _Optional[_Union[_lineage_pb2.Agent, _Mapping]] = ..., kind: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., pools: _Optional[_Iterable[str]] = ..., devices: _Optional[_Iterable[_Union[Device, _Mapping]]] = ..., capacity: _Optional[int] = ..., running: _Optional[_Iterable[_Union[RunningWork, _Mapping]]] = ..., load: _Optional[_Mapping[str, float]] = ..., version: _Optional[str] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., every_s: _Optional[float] = ..., leaving: bool = ..., leads: _Optional[_Union[Team, _Mapping]] = ..., joined: _Optional[_Union[Membership, _Mapping]] = ...) -> None: ...
