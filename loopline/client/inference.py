"""The SDK's way to a served model: the typed RPC, over TLS and with a token where they are set."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from pathlib import Path

import grpc

from loopline.client.settings import ClientSettings
from loopline.contracts.inference.v1 import predict_pb2, predict_pb2_grpc
from loopline.errors import Forbidden, NotFound, Rejected, Transient, Unauthenticated

PREDICT_TIMEOUT_S = 30.0
MAX_MESSAGE_BYTES = 64 * 1024**2
_OPTIONS = [
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
]
_BUSY = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
)
_REFUSALS: dict[grpc.StatusCode, type[Rejected]] = {
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: Forbidden,
    grpc.StatusCode.NOT_FOUND: NotFound,
}


async def predict(
    settings: ClientSettings, request: predict_pb2.PredictRequest
) -> predict_pb2.PredictResponse:
    """Ask the server that the settings name.

    Raises:
        Rejected: The request is refused (as Unauthenticated, Forbidden, NotFound where it is that),
            a file of TLS is not there, or a token would go over the network in plain text.
        Transient: The server cannot be reached or is busy.
    """
    address = settings.inference_grpc
    metadata = _metadata(settings)
    async with _channel(settings) as channel:
        stub = predict_pb2_grpc.PredictServiceStub(channel)  # type: ignore[no-untyped-call]
        try:
            response: predict_pb2.PredictResponse = await stub.Predict(
                request, timeout=PREDICT_TIMEOUT_S, metadata=metadata
            )
        except grpc.aio.AioRpcError as error:
            raise _from_grpc(error, address) from error
    return response


def _channel(settings: ClientSettings) -> grpc.aio.Channel:
    address = settings.inference_grpc
    if not settings.inference_tls:
        return grpc.aio.insecure_channel(address, options=_OPTIONS)
    credentials = grpc.ssl_channel_credentials(
        _read(settings.inference_ca),
        _read(settings.inference_key),
        _read(settings.inference_certificate),
    )
    return grpc.aio.secure_channel(address, credentials, options=_OPTIONS)


def _metadata(settings: ClientSettings) -> tuple[tuple[str, str], ...]:
    token = settings.api_token.get_secret_value()
    if not token:
        return ()
    if not settings.inference_tls and not _is_local(settings.inference_grpc):
        raise Rejected(
            f"a token is not sent to {settings.inference_grpc} in plain text: "
            "set LOOPLINE_INFERENCE_TLS"
        )
    return (("authorization", f"Bearer {token}"),)


def _is_local(address: str) -> bool:
    """Tell whether an address is this machine's own, so that nothing of it goes over a network."""
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        family = socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))  # only one's own addresses can be bound
    except (ValueError, OSError):
        return False
    return True


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise Rejected(f"{path} cannot be read: {error.strerror}") from error


def _from_grpc(error: grpc.aio.AioRpcError, address: str) -> Rejected | Transient:
    message = f"inference at {address}: {error.details()}"
    if error.code() in _BUSY:
        return Transient(message)
    return _REFUSALS.get(error.code(), Rejected)(message)
