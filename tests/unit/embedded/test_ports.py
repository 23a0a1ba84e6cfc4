"""Which ports the embedded platform takes."""

from __future__ import annotations

import socket

import pytest

from loopline.embedded import ports
from loopline.embedded.errors import PlatformError
from loopline.embedded.objects import weed


def listening() -> socket.socket:
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen()
    return server


def test_the_preferred_port_is_taken_if_it_is_free() -> None:
    with listening() as server:
        free = server.getsockname()[1]
    assert ports.choose({"bus": free}) == {"bus": free}


def test_another_port_is_chosen_if_the_preferred_one_is_taken() -> None:
    with listening() as server:
        taken = server.getsockname()[1]
        chosen = ports.choose({"bus": taken})["bus"]
    assert chosen != taken
    assert ports.FIRST_PORT <= chosen < ports.LAST_PORT


def test_two_names_never_get_one_port() -> None:
    chosen = ports.choose({"first": 0, "second": 0} | {str(number): 0 for number in range(50)})
    assert len(set(chosen.values())) == len(chosen)


def test_ports_given_out_before_are_not_given_again() -> None:
    with listening() as server:
        free = server.getsockname()[1]
    assert ports.choose({"bus": free}, taken=[free])["bus"] != free


def test_a_pair_keeps_its_distance_when_its_second_port_is_taken() -> None:
    with listening() as server:
        taken = server.getsockname()[1]
        first, second = ports.choose_pair(taken - 10_000, 10_000)
    assert second == first + 10_000
    assert taken not in (first, second)


def test_having_no_free_port_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda *_: False)
    with pytest.raises(PlatformError, match="no free port"):
        ports.choose({"bus": 0})
    with pytest.raises(PlatformError, match="10000 apart"):
        ports.choose_pair(0, 10_000)


def test_the_admin_ports_of_storage_are_as_far_apart_as_its_worker_assumes() -> None:
    chosen = weed.choose_ports({"weed_admin": 0})
    assert chosen["weed_admin_grpc"] == chosen["weed_admin"] + 10_000
    assert len(set(chosen.values())) == len(chosen)
