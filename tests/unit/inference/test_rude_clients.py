"""Clients that take and never give back: they harm nobody but themselves."""

from __future__ import annotations

import asyncio
import queue
import socket
import struct
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import orjson
import psutil
import pytest

from loopline.contracts.oip.v2 import service_pb2
from loopline.testing.onnx_models import colour_classifier, commit_model, move_alias
from loopline.testing.onnx_tensors import echo
from services.inference.domain.model import TENSORS
from services.inference.service import Inference
from services.inference.settings import InferenceSettings
from tests.unit.inference.conftest import BOTH_FRONTS, Client
from tests.unit.inference.http2 import RudeClient
from tests.unit.inference.test_safety import serving

StatusCode = grpc.StatusCode
PIXELS = np.zeros((1, 8, 8, 3), np.uint8)
MANY = 10_000
AT_ONCE = 100


def request(**fields: Any) -> service_pb2.ModelInferRequest:
    message = service_pb2.ModelInferRequest(model_name="colours", **fields)
    message.inputs.add(name="image", datatype="UINT8", shape=PIXELS.shape)
    message.raw_input_contents.append(PIXELS.tobytes())
    return message


def large_request(size: int = 1_000_000) -> service_pb2.ModelInferRequest:
    message = service_pb2.ModelInferRequest(model_name="echo")
    message.inputs.add(name="in_uint8", datatype="UINT8", shape=[1, size])
    message.raw_input_contents.append(bytes(size))
    return message


async def until(holds: Callable[[], bool], timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not holds():
            await asyncio.sleep(0.02)


@pytest.fixture
def serve(settings: InferenceSettings) -> Callable[..., Any]:
    """Return what starts a service with other settings."""

    @asynccontextmanager
    async def start(**changed: Any) -> AsyncIterator[Inference]:
        async with serving(settings.model_copy(update={"models_max": 4, **changed})) as service:
            model = await commit_model(
                service.log, service.objects, echo("UINT8"), name="echo", classes=(), task=TENSORS
            )
            await move_alias(service.log, model.ref)
            await service.aliases.catch_up()
            yield service

    return start


# --- clients that never read


@BOTH_FRONTS
async def test_answers_that_nobody_reads_count_until_their_client_is_gone(
    serve: Callable[..., Any],
) -> None:
    async with serve(client_concurrency=4) as service:
        rude, polite = RudeClient(service.fronts.grpc.port), Client(service.fronts.grpc.port)
        try:
            for _ in range(4):
                rude.ask(request().SerializeToString())
            quotas = service.fronts.grpc._gate.quotas
            await until(lambda: quotas.inside("127.0.0.1") == 4)
            images = [s for s in service.repository.loaded() if s.model.name == "colours"]
            await until(lambda: images[0].statistics.snapshot().success.count == 4)
            with pytest.raises(grpc.RpcError) as caught:  # from the same address: it is that client
                await polite.infer(request())
            assert caught.value.code() == StatusCode.RESOURCE_EXHAUSTED
            rude.close()
            await until(lambda: quotas.inside("127.0.0.1") == 0)
            assert (await polite.infer(request())).model_name == "colours"
        finally:
            polite.close()
            rude.close()


@BOTH_FRONTS
async def test_answers_that_nobody_reads_hold_no_thread(serve: Callable[..., Any]) -> None:
    """More of them than there are threads, and another client is answered."""
    async with serve(grpc_threads=4, client_concurrency=0) as service:
        rude, polite = RudeClient(service.fronts.grpc.port), Client(service.fronts.grpc.port)
        try:
            for _ in range(12):
                rude.ask(request().SerializeToString())
            assert (await polite.infer(request())).model_name == "colours"
        finally:
            rude.close()
            polite.close()


@BOTH_FRONTS
async def test_a_stream_that_nobody_reads_is_ended(serve: Callable[..., Any]) -> None:
    async with serve(stream_idle_s=0.5, streams_max=1, stream_requests_max=2) as service:
        channel = grpc.insecure_channel(f"127.0.0.1:{service.fronts.grpc.port}")
        ask = stream_method(channel)
        sent = 0

        def requests() -> Iterator[service_pb2.ModelInferRequest]:
            nonlocal sent
            for _ in range(600):
                sent += 1
                yield large_request()

        call = ask(requests())
        client = Client(service.fronts.grpc.port)
        try:
            streams = service.fronts.grpc._streams
            await until(lambda: len(streams._running) == 1)
            await until(lambda: not streams._running)
            assert sent < 600  # what it did not read held it up
            assert len(await client.stream([request()])) == 1  # its place is free again
        finally:
            call.cancel()
            client.close()
            channel.close()


async def test_an_http_answer_that_nobody_reads_ends_its_connection(
    serve: Callable[..., Any],
) -> None:
    async with serve(request_timeout_s=1.0) as service:
        rest = service.fronts.rest
        with socket.socket() as rude:
            rude.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            rude.connect(("127.0.0.1", rest.port))
            tensor: dict[str, Any] = {
                "name": "in_uint8",
                "datatype": "UINT8",
                "shape": [1, 16_000_000],
            }
            tensor["parameters"] = {"binary_data_size": 16_000_000}
            given = {"inputs": [tensor], "parameters": {"binary_data_output": True}}
            body = orjson.dumps(given)
            head = (
                "POST /v2/models/echo/infer HTTP/1.1\r\nhost: x\r\n"
                f"content-length: {len(body) + 16_000_000}\r\n"
                f"inference-header-content-length: {len(body)}\r\n\r\n"
            )
            await asyncio.to_thread(rude.sendall, head.encode() + body + bytes(16_000_000))
            connections = rest._server.server_state.connections
            await until(lambda: len(connections) == 1)
            await until(lambda: not connections)


# --- clients that say nothing


async def test_an_http_connection_that_says_nothing_is_closed(serve: Callable[..., Any]) -> None:
    async with serve() as service:
        rest = service.fronts.rest
        reader, writer = await asyncio.open_connection("127.0.0.1", rest.port)
        writer.write(b"POST /v2/models/colours/infer HT")
        connections = rest._server.server_state.connections
        await until(lambda: len(connections) == 1)
        closing = asyncio.create_task(reader.read())
        while not closing.done():
            for connection in list(connections):
                connection._moved_s -= 1_000  # as if it had waited for so long
            await asyncio.sleep(0.05)
        assert not connections
        assert isinstance(closing.exception(), ConnectionError) or closing.result() == b""
        writer.close()


async def test_a_head_that_does_not_end_is_cut_off(serve: Callable[..., Any]) -> None:
    async with serve() as service:
        _, writer = await asyncio.open_connection("127.0.0.1", service.fronts.rest.port)
        writer.write(b"GET /v2 HTTP/1.1\r\n")
        try:
            async with asyncio.timeout(20):
                while True:
                    writer.write(b"x-filler: " + b"a" * 1000 + b"\r\n")
                    await writer.drain()
                    await asyncio.sleep(0)
        except (ConnectionError, OSError):
            pass
        assert len(service.fronts.rest._server.server_state.connections) == 0
        writer.close()


async def test_connections_above_the_limit_are_closed_and_the_others_served(
    serve: Callable[..., Any],
) -> None:
    async with serve(rest_connections_max=5) as service:
        port = service.fronts.rest.port
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(8)]
        try:
            gone = [asyncio.create_task(reader.read()) for reader, _ in opened]
            await until(lambda: sum(task.done() for task in gone) == 3)
            for task, (_, writer) in zip(gone, opened, strict=True):
                if not task.done():
                    writer.write(b"GET /v2/health/live HTTP/1.0\r\n\r\n")
            answers = await asyncio.wait_for(asyncio.gather(*gone, return_exceptions=True), 20)
            served = [a for a in answers if isinstance(a, bytes) and b"200 OK" in a]
            assert len(served) == 5
        finally:
            for _, writer in opened:
                writer.close()


@pytest.mark.slow
@pytest.mark.parametrize("front", ["grpc", "rest"])
@pytest.mark.parametrize("said", [b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET /v2 HT"])
async def test_ten_thousand_connections_opened_and_dropped_leave_nothing_behind(
    serve: Callable[..., Any], front: str, said: bytes
) -> None:
    async with serve() as service:
        client, process = Client(service.fronts.grpc.port), psutil.Process()
        port = getattr(service.fronts, front).port
        try:
            assert (await client.infer(request())).model_name == "colours"
            await asyncio.to_thread(open_and_drop, port, 500, said)  # what is allocated once
            await until(lambda: len(at(port, process)) <= 1)
            memory_bytes, descriptors = process.memory_info().rss, process.num_fds()
            await asyncio.to_thread(open_and_drop, port, MANY, said)
            assert (await client.infer(request())).model_name == "colours"
            await until(lambda: process.num_fds() <= descriptors + 5, timeout_s=60)
            assert process.memory_info().rss - memory_bytes < 64 * 1024**2
        finally:
            client.close()


@BOTH_FRONTS
async def test_connections_beyond_the_bound_are_closed_and_make_room_as_they_end(
    serve: Callable[..., Any],
) -> None:
    most = 4
    async with serve(grpc_connections_max=most) as service:
        port = service.fronts.grpc.port
        held = [RudeClient(port) for _ in range(most)]
        try:
            beyond = socket.create_connection(("127.0.0.1", port), timeout=20)
            with beyond:
                assert await asyncio.to_thread(beyond.recv, 1) == b"", "it is closed"
        finally:
            for each in held:
                each.close()
        client = Client(port)
        try:
            await until_answered(client)
        finally:
            client.close()


async def until_answered(client: Client) -> None:
    """Ask until the server has room for the connection."""
    async with asyncio.timeout(20):
        while True:
            try:
                assert (await client.infer(request())).model_name == "colours"
                return
            except grpc.RpcError as error:
                if error.code() is not StatusCode.UNAVAILABLE:
                    raise
                await asyncio.sleep(0.05)


def open_and_drop(port: int, count: int, said: bytes) -> None:
    """Open connections, at most `AT_ONCE` at a time, and reset them."""
    open_: list[socket.socket] = []
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", port), timeout=20)
        # A reset leaves no port in TIME_WAIT, of which there are fewer than connections.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if said:
            connection.sendall(said)
        open_.append(connection)
        if len(open_) == AT_ONCE:
            for each in open_:
                each.close()
            open_.clear()
    for each in open_:
        each.close()


def at(port: int, process: psutil.Process) -> list[Any]:
    connections = process.net_connections("tcp")
    return [c for c in connections if c.laddr.port == port and c.status == "ESTABLISHED"]


# --- streams


def stream_method(channel: grpc.Channel) -> Any:
    return channel.stream_stream(
        "/inference.GRPCInferenceService/ModelStreamInfer",
        request_serializer=service_pb2.ModelInferRequest.SerializeToString,
        response_deserializer=service_pb2.ModelStreamInferResponse.FromString,
    )


@BOTH_FRONTS
async def test_a_stream_answers_while_it_is_open(service: Inference, client: Client) -> None:
    """A camera sends a frame, reads the answer, and sends the next: nothing waits for the end."""
    model = await commit_model(service.log, service.objects, colour_classifier())
    await move_alias(service.log, model.ref)
    await service.aliases.catch_up()
    frames: queue.Queue[Any] = queue.Queue()
    channel = grpc.insecure_channel(f"127.0.0.1:{service.fronts.grpc.port}")

    def converse() -> list[str]:
        answers = stream_method(channel)(iter(frames.get, None), timeout=20)
        seen = []
        for number in range(3):
            frames.put(request(id=str(number)))
            seen.append(next(answers).infer_response.id)
        frames.put(None)
        assert list(answers) == []
        return seen

    assert await asyncio.to_thread(converse) == ["0", "1", "2"]
    channel.close()


@BOTH_FRONTS
async def test_streams_above_the_limit_are_refused(serve: Callable[..., Any]) -> None:
    async with serve(streams_max=2) as service:
        channel = grpc.insecure_channel(f"127.0.0.1:{service.fronts.grpc.port}")
        hold = threading.Event()

        def frames() -> Iterator[service_pb2.ModelInferRequest]:
            yield request()
            hold.wait(20)

        open_ = [stream_method(channel)(frames()) for _ in range(2)]
        client = Client(service.fronts.grpc.port)
        try:
            await asyncio.gather(*(asyncio.to_thread(next, call) for call in open_))
            with pytest.raises(grpc.RpcError) as caught:
                await client.stream([request()])
            assert caught.value.code() == StatusCode.RESOURCE_EXHAUSTED
            hold.set()
            await asyncio.gather(*(asyncio.to_thread(list, call) for call in open_))
            assert len(await client.stream([request()])) == 1
        finally:
            hold.set()
            client.close()
            channel.close()


@BOTH_FRONTS
async def test_a_stream_that_is_cancelled_frees_its_places(serve: Callable[..., Any]) -> None:
    async with serve(streams_max=1, stream_requests_max=4) as service:
        (servable,) = [s for s in service.repository.loaded() if s.model.name == "colours"]
        gate, run = threading.Event(), servable.batcher._run
        servable.batcher._run = lambda feeds: (gate.wait(20), run(feeds))[1]
        channel = grpc.insecure_channel(f"127.0.0.1:{service.fronts.grpc.port}")
        call = stream_method(channel)(iter([request() for _ in range(10)]))
        try:
            await until(lambda: servable.admission.inside == 4)  # no more than may be in flight
            call.cancel()
            gate.set()
            await until(lambda: servable.admission.inside == 0)
            await until(lambda: not service.fronts.grpc._streams._running)
        finally:
            gate.set()
            channel.close()


@BOTH_FRONTS
async def test_a_server_that_stops_answers_what_a_stream_has_in_flight(
    serve: Callable[..., Any],
) -> None:
    async with serve(drain_s=10.0) as service:
        (servable,) = [s for s in service.repository.loaded() if s.model.name == "colours"]
        gate, run, hold = threading.Event(), servable.batcher._run, threading.Event()
        servable.batcher._run = lambda feeds: (gate.wait(20), run(feeds))[1]
        channel = grpc.insecure_channel(f"127.0.0.1:{service.fronts.grpc.port}")

        def frames() -> Iterator[service_pb2.ModelInferRequest]:
            yield from (request(id=str(number)) for number in range(3))
            hold.wait(20)

        call = stream_method(channel)(frames())
        try:
            await until(lambda: servable.admission.inside == 3)
            stopping = asyncio.create_task(asyncio.to_thread(service.fronts.grpc.stop, 10.0))
            await until(service.fronts.grpc._streams._closed.is_set)
            gate.set()
            seen: list[str] = []
            with pytest.raises(grpc.RpcError) as caught:
                await asyncio.to_thread(lambda: seen.extend(a.infer_response.id for a in call))
            assert seen == ["0", "1", "2"]
            assert caught.value.code() == StatusCode.UNAVAILABLE
            await asyncio.wait_for(stopping, 20)
        finally:
            gate.set()
            hold.set()
            channel.close()


@BOTH_FRONTS
async def test_what_is_no_request_ends_no_stream(client: Client, service: Inference) -> None:
    model = await commit_model(service.log, service.objects, colour_classifier())
    await move_alias(service.log, model.ref)
    await service.aliases.catch_up()
    first, second = await client.stream([b"\xff\xff", request(id="after")])
    assert "not a ModelInferRequest" in first.error_message
    assert second.infer_response.id == "after"


# --- a machine without memory


async def test_a_worker_out_of_memory_refuses_what_does_not_fit_and_goes_on(
    tmp_path: Path,
) -> None:
    """In a process of its own, whose address space is limited once it serves."""
    script = Path(__file__).with_name("starved_server.py")
    server = await asyncio.create_subprocess_exec(
        sys.executable, str(script), str(tmp_path), stdin=-1, stdout=-1
    )
    assert server.stdout is not None
    assert server.stdin is not None
    try:
        line = await asyncio.wait_for(server.stdout.readline(), 60)
        while not line.startswith(b"port"):
            line = await asyncio.wait_for(server.stdout.readline(), 60)
        client = Client(int(line.split()[1]))
        try:
            for _ in range(3):
                with pytest.raises(grpc.RpcError) as caught:
                    await client.infer(hungry_request(4_000))
                assert caught.value.code() == StatusCode.RESOURCE_EXHAUSTED
                assert "memory" in (caught.value.details() or "")
                assert (await client.infer(hungry_request(1))).model_name == "hungry"
                assert (await client.infer(request())).model_name == "colours"
        finally:
            client.close()
        server.stdin.close()
        assert await asyncio.wait_for(server.wait(), 30) == 0
    finally:
        if server.returncode is None:
            server.kill()
            await server.wait()


def hungry_request(width: int) -> service_pb2.ModelInferRequest:
    """Return a request for which the model needs a megabyte per column."""
    message = service_pb2.ModelInferRequest(model_name="hungry")
    message.inputs.add(name="x", datatype="FP32", shape=[1, width])
    message.raw_input_contents.append(bytes(4 * width))
    return message
