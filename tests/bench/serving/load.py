"""The client: so many requests at once for so long, every answer checked."""

from __future__ import annotations

import base64
import http.client
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import shared_memory

import grpc
import orjson

from loopline.contracts.oip.v2 import service_pb2, shared_memory_pb2
from tests.bench.serving.cases import Case

Ask = Callable[[], None]
REGION = "bench"
ANSWER_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Burst:
    """What came of a burst: the seconds each answer took, and how long it was in all."""

    latencies_s: list[float]
    elapsed_s: float

    @property
    def requests(self) -> int:
        """How many were answered."""
        return len(self.latencies_s)


def burst(asks: list[Ask], seconds: float) -> Burst:
    """Ask from one thread per element of `asks` for so long."""
    started = time.perf_counter()
    until = started + seconds

    def client(ask: Ask) -> list[float]:
        latencies = []
        while (before := time.perf_counter()) < until:
            ask()
            latencies.append(time.perf_counter() - before)
        return latencies

    with ThreadPoolExecutor(len(asks)) as threads:
        found = [one for some in threads.map(client, asks) for one in some]
    return Burst(found, time.perf_counter() - started)


@contextmanager
def over_grpc(port: int, case: Case, clients: int) -> Iterator[list[Ask]]:
    """Yield callables that ask by the Open Inference Protocol."""
    message = case.message()
    with _channel(port) as channel:
        ask = _infer(channel)
        yield [lambda: case.check(_values(ask(message)))] * clients


@contextmanager
def over_shared_memory(port: int, case: Case, clients: int) -> Iterator[list[Ask]]:
    """Yield callables whose tensor lies in system shared memory, registered once."""
    size = len(case.raw)
    memory = shared_memory.SharedMemory(create=True, size=size)
    try:
        assert memory.buf is not None
        memory.buf[:size] = case.raw
        with _channel(port) as channel:
            register = channel.unary_unary(
                "/inference.GRPCInferenceService/SystemSharedMemoryRegister",
                request_serializer=lambda m: m.SerializeToString(),
                response_deserializer=bytes,
            )
            register(
                shared_memory_pb2.SystemSharedMemoryRegisterRequest(
                    name=REGION, key=f"/{memory.name}", byte_size=size
                )
            )
            request = case.request()
            parameters = request.inputs[0].parameters
            parameters["shared_memory_region"].string_param = REGION
            parameters["shared_memory_byte_size"].int64_param = size
            message, ask = request.SerializeToString(), _infer(channel)
            yield [lambda: case.check(_values(ask(message)))] * clients
            unregister = channel.unary_unary(
                "/inference.GRPCInferenceService/SystemSharedMemoryUnregister",
                request_serializer=lambda m: m.SerializeToString(),
                response_deserializer=bytes,
            )
            unregister(shared_memory_pb2.SystemSharedMemoryUnregisterRequest(name=REGION))
    finally:
        memory.close()
        memory.unlink()


@contextmanager
def over_http(port: int, case: Case, clients: int) -> Iterator[list[Ask]]:
    """Yield callables that post base64 in JSON, each on a connection of its own."""
    raw = case.raw[4:] if case.datatype == "BYTES" else case.raw
    body = orjson.dumps({"network": case.network, "data": base64.b64encode(raw).decode()})
    connections = [_connection(port) for _ in range(clients)]

    def ask(connection: http.client.HTTPConnection) -> None:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/predict", body, headers)
        answer = connection.getresponse()
        data = answer.read()
        assert answer.status == 200, data
        case.check(base64.b64decode(orjson.loads(data)["data"]))

    try:
        yield [lambda connection=c: ask(connection) for c in connections]  # type: ignore[misc]
    finally:
        for connection in connections:
            connection.close()


def _connection(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_TIMEOUT_S)


def _channel(port: int) -> grpc.Channel:
    size = 64 * 1024 * 1024
    options = [("grpc.max_receive_message_length", size), ("grpc.max_send_message_length", size)]
    return grpc.insecure_channel(f"127.0.0.1:{port}", options)


def _infer(channel: grpc.Channel) -> Callable[[bytes], service_pb2.ModelInferResponse]:
    return channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=bytes,
        response_deserializer=service_pb2.ModelInferResponse.FromString,
    )


def _values(answer: service_pb2.ModelInferResponse) -> bytes:
    return answer.raw_output_contents[0]
