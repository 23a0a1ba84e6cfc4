import datetime

from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ArtefactKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ARTEFACT_KIND_UNSPECIFIED: _ClassVar[ArtefactKind]
    ARTEFACT_KIND_SOURCE: _ClassVar[ArtefactKind]
    ARTEFACT_KIND_DATASET: _ClassVar[ArtefactKind]
    ARTEFACT_KIND_MODEL: _ClassVar[ArtefactKind]
    ARTEFACT_KIND_ALIAS: _ClassVar[ArtefactKind]
    ARTEFACT_KIND_FLOW: _ClassVar[ArtefactKind]
    ARTEFACT_KIND_PREDICTIONS: _ClassVar[ArtefactKind]
    ARTEFACT_KIND_LABELING_JOB: _ClassVar[ArtefactKind]
    ARTEFACT_KIND_LABELS: _ClassVar[ArtefactKind]
    ARTEFACT_KIND_DELIVERY: _ClassVar[ArtefactKind]
    ARTEFACT_KIND_REPORT: _ClassVar[ArtefactKind]
    ARTEFACT_KIND_EVALUATION: _ClassVar[ArtefactKind]
    ARTEFACT_KIND_TOKEN: _ClassVar[ArtefactKind]
    ARTEFACT_KIND_REVIEW: _ClassVar[ArtefactKind]
    ARTEFACT_KIND_REPRODUCTION: _ClassVar[ArtefactKind]

class RunKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUN_KIND_UNSPECIFIED: _ClassVar[RunKind]
    RUN_KIND_IMPORT: _ClassVar[RunKind]
    RUN_KIND_PREPROCESS: _ClassVar[RunKind]
    RUN_KIND_FILTER: _ClassVar[RunKind]
    RUN_KIND_ANNOTATE: _ClassVar[RunKind]
    RUN_KIND_AUGMENT: _ClassVar[RunKind]
    RUN_KIND_TRAIN: _ClassVar[RunKind]
    RUN_KIND_EVALUATE: _ClassVar[RunKind]
    RUN_KIND_DEPLOY: _ClassVar[RunKind]
    RUN_KIND_PREDICT: _ClassVar[RunKind]
    RUN_KIND_ROUTE: _ClassVar[RunKind]
    RUN_KIND_RESTORE: _ClassVar[RunKind]
    RUN_KIND_EDIT: _ClassVar[RunKind]
    RUN_KIND_QUANTIZE: _ClassVar[RunKind]
    RUN_KIND_REPRODUCE: _ClassVar[RunKind]
ARTEFACT_KIND_UNSPECIFIED: ArtefactKind
ARTEFACT_KIND_SOURCE: ArtefactKind
ARTEFACT_KIND_DATASET: ArtefactKind
ARTEFACT_KIND_MODEL: ArtefactKind
ARTEFACT_KIND_ALIAS: ArtefactKind
ARTEFACT_KIND_FLOW: ArtefactKind
ARTEFACT_KIND_PREDICTIONS: ArtefactKind
ARTEFACT_KIND_LABELING_JOB: ArtefactKind
ARTEFACT_KIND_LABELS: ArtefactKind
ARTEFACT_KIND_DELIVERY: ArtefactKind
ARTEFACT_KIND_REPORT: ArtefactKind
ARTEFACT_KIND_EVALUATION: ArtefactKind
ARTEFACT_KIND_TOKEN: ArtefactKind
ARTEFACT_KIND_REVIEW: ArtefactKind
ARTEFACT_KIND_REPRODUCTION: ArtefactKind
RUN_KIND_UNSPECIFIED: RunKind
RUN_KIND_IMPORT: RunKind
RUN_KIND_PREPROCESS: RunKind
RUN_KIND_FILTER: RunKind
RUN_KIND_ANNOTATE: RunKind
RUN_KIND_AUGMENT: RunKind
RUN_KIND_TRAIN: RunKind
RUN_KIND_EVALUATE: RunKind
RUN_KIND_DEPLOY: RunKind
RUN_KIND_PREDICT: RunKind
RUN_KIND_ROUTE: RunKind
RUN_KIND_RESTORE: RunKind
RUN_KIND_EDIT: RunKind
RUN_KIND_QUANTIZE: RunKind
RUN_KIND_REPRODUCE: RunKind

class ArtefactRef(_message.Message):
    __slots__ = ("kind", "name", "version", "digest", "role")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    kind: ArtefactKind
    name: str
    version: int
    digest: str
    role: str
    def __init__(self, kind: _Optional[_Union[ArtefactKind, str]] = ..., name: _Optional[str] = ..., version: _Optional[int] = ..., digest: _Optional[str] = ..., role: _Optional[str] = ...) -> None: ...

class Actor(_message.Message):
    __slots__ = ("kind", "name")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class Agent(_message.Message):
    __slots__ = ("id", "host", "service")
    ID_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    id: str
    host: str
    service: str
    def __init__(self, id: _Optional[str] = ..., host: _Optional[str] = ..., service: _Optional[str] = ...) -> None: ...

class Environment(_message.Message):
    __slots__ = ("loopline", "code_digest", "packages_digest", "python", "platform", "device", "cpu", "cpu_features", "threads", "packages")
    class PackagesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    LOOPLINE_FIELD_NUMBER: _ClassVar[int]
    CODE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PACKAGES_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PYTHON_FIELD_NUMBER: _ClassVar[int]
    PLATFORM_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    CPU_FIELD_NUMBER: _ClassVar[int]
    CPU_FEATURES_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    PACKAGES_FIELD_NUMBER: _ClassVar[int]
    loopline: str
    code_digest: str
    packages_digest: str
    python: str
    platform: str
    device: str
    cpu: str
    cpu_features: _containers.RepeatedScalarFieldContainer[str]
    threads: int
    packages: _containers.ScalarMap[str, str]
    def __init__(self, loopline: _Optional[str] = ..., code_digest: _Optional[str] = ..., packages_digest: _Optional[str] = ..., python: _Optional[str] = ..., platform: _Optional[str] = ..., device: _Optional[str] = ..., cpu: _Optional[str] = ..., cpu_features: _Optional[_Iterable[str]] = ..., threads: _Optional[int] = ..., packages: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Run(_message.Message):
    __slots__ = ("id", "kind", "inputs", "outputs", "parameters", "environment", "actor", "agent", "started_at", "finished_at", "trace_id", "figures", "members")
    class FiguresEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_FIELD_NUMBER: _ClassVar[int]
    TRACE_ID_FIELD_NUMBER: _ClassVar[int]
    FIGURES_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    id: str
    kind: RunKind
    inputs: _containers.RepeatedCompositeFieldContainer[ArtefactRef]
    outputs: _containers.RepeatedCompositeFieldContainer[ArtefactRef]
    parameters: _struct_pb2.Struct
    environment: Environment
    actor: Actor
    agent: Agent
    started_at: _timestamp_pb2.Timestamp
    finished_at: _timestamp_pb2.Timestamp
    trace_id: str
    figures: _containers.ScalarMap[str, float]
    members: _containers.RepeatedCompositeFieldContainer[Agent]
    def __init__(self, id: _Optional[str] = ..., kind: _Optional[_Union[RunKind, str]] = ..., inputs: _Optional[_Iterable[_Union[ArtefactRef, _Mapping]]] = ..., outputs: _Optional[_Iterable[_Union[ArtefactRef, _Mapping]]] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., environment: _Optional[_Union[Environment, _Mapping]] = ..., actor: _Optional[_Union[Actor, _Mapping]] = ..., agent: _Optional[_Union[Agent, _Mapping]] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., finished_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., trace_id: _Optional[str] = ..., figures: _Optional[_Mapping[str, float]] = ..., members: _Optional[_Iterable[_Union[Agent, _Mapping]]] = ...) -> None: ...

class Commit(_message.Message):
    __slots__ = ("workspace", "artefact", "parent", "parent_sequence", "other_parent", "run", "committed_at", "summary")
    WORKSPACE_FIELD_NUMBER: _ClassVar[int]
    ARTEFACT_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PARENT_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    OTHER_PARENT_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_AT_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    workspace: str
    artefact: ArtefactRef
    parent: ArtefactRef
    parent_sequence: int
    other_parent: ArtefactRef
    run: Run
    committed_at: _timestamp_pb2.Timestamp
    summary: str
    def __init__(self, workspace: _Optional[str] = ..., artefact: _Optional[_Union[ArtefactRef, _Mapping]] = ..., parent: _Optional[_Union[ArtefactRef, _Mapping]] = ..., parent_sequence: _Optional[int] = ..., other_parent: _Optional[_Union[ArtefactRef, _Mapping]] = ..., run: _Optional[_Union[Run, _Mapping]] = ..., committed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., summary: _Optional[str] = ...) -> None: ...
