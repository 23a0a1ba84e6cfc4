"""Connections end when they should, and not before; in plain text and over TLS."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.inference.adapters.fronts.direct import listener as listener_module
from services.inference.adapters.fronts.direct.frames import ErrorCode
from services.inference.adapters.fronts.direct.listener import DirectListener
from services.inference.adapters.fronts.grpc_options import GrpcOptions
from services.inference.adapters.fronts.tls import TlsFiles
from tests.unit.inference.certificates import Authority
from tests.unit.inference.direct.conftest import (
    Handlers,
    listening,
    until,
)
from tests.unit.inference.http2 import (
    ACK,
    GOAWAY,
    INITIAL_WINDOW_SIZE,
    PING,
    PREFACE,
    SETTINGS,
    WINDOW_UPDATE,
    RawClient,
    frame,
    word,
)

WIDE = (INITIAL_WINDOW_SIZE, 2**31 - 1)
TIMEOUT_S = 20.0


# --- connections


def test_a_server_that_stops_answers_what_is_inside(
    handlers: Handlers, options: GrpcOptions
) -> None:
    listener = DirectListener(handlers.services(), handlers.starters(), options)
    listener.start()
    with RawClient(listener.port) as client, RawClient(listener.port) as idle:
        client.ask(1, "/t.T/Wait", b"inside")
        idle.read_until(SETTINGS)
        until(lambda: handlers.seen == [b"inside"])
        wait = listener.stop(TIMEOUT_S)
        assert client.read_until(GOAWAY).code == ErrorCode.NO_ERROR
        client.ask(3, "/t.T/Echo", b"on its way")
        assert client.answer(3).messages == [b"on its way"], "it had not heard"
        heard = frame(PING, ACK, 0, b"draining")
        client.send(heard)
        assert client.read_until(GOAWAY).code == ErrorCode.NO_ERROR
        client.ask(5, "/t.T/Echo", b"late")
        assert client.answer(5).reset == ErrorCode.REFUSED_STREAM
        idle.send(heard)
        idle.rest()
        assert [each.code for each in idle.others if each.kind == GOAWAY] == [0, 0]
        handlers.gate.set()
        assert client.answer(1).messages == [b"inside"]
        client.rest()
    wait()
    assert not listener.connections


def test_a_server_that_stops_ends_what_does_not_end(
    handlers: Handlers, options: GrpcOptions
) -> None:
    with listening(handlers, options) as listener, RawClient(listener.port) as client:
        client.ask(1, "/t.T/Never", b"")
        client.ask(3, "/t.T/Chat", b"x")
        until(lambda: len(handlers.seen) == 2)
        handlers.cancelled.clear()
        listener.stop(0.05)()
        client.rest()
        assert handlers.cancelled.is_set()


@pytest.fixture
def hasty(
    handlers: Handlers, options: GrpcOptions, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DirectListener]:
    """A listener without patience for connections."""
    monkeypatch.setattr(listener_module, "SWEEP_S", 0.02)
    with listening(handlers, options, begin_s=0.1, silence_s=0.2, answer_s=0.2) as listener:
        yield listener


@pytest.mark.parametrize("said", [b"", b"PRI * HT"])
def test_a_connection_that_does_not_say_what_it_speaks_is_closed(
    hasty: DirectListener, said: bytes
) -> None:
    with RawClient(hasty.port, None) as client:
        client.send(said)
        client.rest()
    until(lambda: not hasty.connections)


def test_saying_it_byte_by_byte_wins_no_time(hasty: DirectListener) -> None:
    with RawClient(hasty.port, None) as client:
        client.send(PREFACE + frame(SETTINGS, 0, 0, bytes(6_000))[:9])

        def is_closed() -> bool:
            try:
                client.send(b"\0")
            except ConnectionError:
                return True
            return False

        until(is_closed)


def test_a_silent_client_is_asked_and_stays_if_it_answers(hasty: DirectListener) -> None:
    with RawClient(hasty.port) as client:
        for _ in range(3):
            asked = client.read_until(PING)
            client.send(frame(PING, ACK, 0, asked.payload))
        client.ask(1, "/t.T/Echo", b"here")
        assert client.answer(1).messages == [b"here"]
        client.rest()  # it does not answer any more
        assert [each for each in client.others if each.kind == PING]
    until(lambda: not hasty.connections)


def test_a_client_that_reads_nothing_is_closed_though_it_speaks(hasty: DirectListener) -> None:
    with RawClient(hasty.port, [WIDE], receive_bytes=16_384) as client:
        client.send(frame(WINDOW_UPDATE, 0, 0, word(2**30)))
        client.ask(1, "/t.T/Count", b"1000")
        until(lambda: any(connection.is_full for connection in hasty.connections))
        until(lambda: not hasty.connections)


# --- TLS


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def secure(
    handlers: Handlers,
    options: GrpcOptions,
    authority: Authority,
) -> Iterator[DirectListener]:
    """A listener that speaks TLS."""
    issued = authority.issue("server")
    files = TlsFiles(issued.certificate, issued.key)
    with listening(handlers, replace(options, tls=files), begin_s=1.0) as listener:
        yield listener


@pytest.mark.parametrize("protocols", [None, ["h2"], ["http/1.1", "h2"]])
def test_tls_needs_no_alpn(
    secure: DirectListener, authority: Authority, protocols: list[str] | None
) -> None:
    context = ssl.create_default_context(cafile=str(authority.file))
    if protocols is not None:
        context.set_alpn_protocols(protocols)
    with RawClient(secure.port, tls=context) as client:
        client.ask(1, "/t.T/Echo", bytes(50_000))
        assert client.answer(1).messages == [bytes(50_000)]
        assert isinstance(client.socket, ssl.SSLSocket)
        assert client.socket.selected_alpn_protocol() == ("h2" if protocols else None)


def test_http1_over_tls_is_refused(secure: DirectListener, authority: Authority) -> None:
    context = ssl.create_default_context(cafile=str(authority.file))
    context.set_alpn_protocols(["http/1.1"])
    with RawClient(secure.port, None, tls=context) as client:
        client.send(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert client.read_until(GOAWAY).code == ErrorCode.PROTOCOL_ERROR


def test_a_handshake_that_goes_nowhere_is_ended(secure: DirectListener) -> None:
    with RawClient(secure.port, None) as client:
        client.send(b"\x16\x03\x01")
        client.rest()


def test_what_nobody_reads_over_tls_ends_the_reading(
    secure: DirectListener, authority: Authority
) -> None:
    context = ssl.create_default_context(cafile=str(authority.file))
    with RawClient(secure.port, [WIDE], receive_bytes=16_384, tls=context) as client:
        client.send(frame(WINDOW_UPDATE, 0, 0, word(2**30)))
        client.ask(1, "/t.T/Count", b"400")
        until(lambda: any(connection.is_full for connection in secure.connections))
        frames = client.frames()
        while any(connection.is_full for connection in secure.connections):
            assert next(frames, None) is not None
