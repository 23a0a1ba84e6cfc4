"""Our definition of the Open Inference Protocol is the field's: compared with tritonclient's own.

Each side is read in a process of its own, since one process can hold only one package `inference`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

DUMP = """
import json, sys
from importlib import import_module
from google.protobuf import descriptor_pb2

seen = {}

def walk(message, prefix):
    name = prefix + message.name
    seen[name] = {f.name: [f.number, f.type, f.label, f.type_name] for f in message.field}
    for nested in message.nested_type:
        walk(nested, name + ".")
    enums(message.enum_type, name + ".")

def enums(found, prefix):
    for enum in found:
        seen[prefix + enum.name] = {value.name: value.number for value in enum.value}

for name in sys.argv[1:]:
    file = descriptor_pb2.FileDescriptorProto()
    import_module(name).DESCRIPTOR.CopyToProto(file)
    assert file.package == "inference"
    for message in file.message_type:
        walk(message, "")
    enums(file.enum_type, "")
    for service in file.service:
        seen["service " + service.name] = {
            m.name: [m.input_type, m.output_type, m.client_streaming, m.server_streaming]
            for m in service.method
        }
print(json.dumps(seen))
"""
OURS = ("model_config", "repository", "service", "shared_memory", "statistics", "tensor")
WHOLE = ("Server", "ModelInferRe", "ModelStream", "Infer", "System", "Cuda", "Repository")


def definitions(*modules: str) -> dict[str, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-c", DUMP, *modules], capture_output=True, check=True, timeout=60
    )
    seen: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return seen


@pytest.fixture(scope="module")
def theirs() -> dict[str, dict[str, Any]]:
    return definitions("tritonclient.grpc.service_pb2", "tritonclient.grpc.model_config_pb2")


@pytest.fixture(scope="module")
def ours() -> dict[str, dict[str, Any]]:
    return definitions(*(f"loopline.contracts.oip.v2.{name}_pb2" for name in OURS))


def test_every_field_value_and_method_of_ours_is_theirs(
    ours: dict[str, dict[str, Any]], theirs: dict[str, dict[str, Any]]
) -> None:
    assert len(ours) > 40
    for name, members in ours.items():
        for member, definition in members.items():
            assert theirs[name][member] == definition, f"{name}.{member}"


def test_the_messages_of_inference_are_whole(
    ours: dict[str, dict[str, Any]], theirs: dict[str, dict[str, Any]]
) -> None:
    """An extension may be told in part; the protocol itself may not."""
    core = [name for name in ours if name.startswith(WHOLE)]
    assert core
    for name in (*core, "ModelMetadataResponse", "ModelReadyRequest"):
        assert ours[name] == theirs[name], name


def test_the_sdk_leaves_the_package_to_the_peers_client() -> None:
    """A program may use our client and tritonclient in one process."""
    both = "import loopline.client, loopline.contracts, tritonclient.grpc"
    subprocess.run([sys.executable, "-c", both], check=True, timeout=60)
