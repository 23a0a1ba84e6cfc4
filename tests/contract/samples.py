"""A full sample of every message: each field set, so that a renumbered or retyped field shows."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

_SCALARS: dict[int, Any] = {
    FieldDescriptor.TYPE_DOUBLE: 1.5,
    FieldDescriptor.TYPE_FLOAT: 0.5,
    FieldDescriptor.TYPE_UINT64: 64,
    FieldDescriptor.TYPE_UINT32: 32,
    FieldDescriptor.TYPE_INT32: -32,
    FieldDescriptor.TYPE_INT64: -64,
    FieldDescriptor.TYPE_BOOL: True,
    FieldDescriptor.TYPE_BYTES: b"bytes",
}


def sample(message_class: type[Message]) -> Message:
    """Return a message of the class with every field set, of a `oneof` the first."""
    message = message_class()
    _fill(message)
    return message


def _fill(message: Any) -> None:  # fields are set by name
    if isinstance(message, Timestamp):
        message.FromSeconds(1_767_225_600)
        return
    if isinstance(message, Struct):
        message.update({"text": "value", "number": 2})
        return
    for field in message.DESCRIPTOR.fields:
        oneof = field.containing_oneof
        if oneof is not None and oneof.fields[0] is not field:
            continue
        _set(message, field)


def _set(message: Any, field: Any) -> None:
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        value["key"] = _scalar(field.message_type.fields_by_name["value"])
    elif field.message_type is not None and field.is_repeated:
        _fill(value.add())
    elif field.message_type is not None:
        value.SetInParent()
        _fill(value)
    elif field.is_repeated:
        value.append(_scalar(field))
    else:
        setattr(message, field.name, _scalar(field))


def _scalar(field: Any) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values[-1].number
    return _SCALARS.get(field.type, field.name)
