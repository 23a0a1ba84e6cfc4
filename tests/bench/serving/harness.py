"""Rounds of short bursts: every server in turn, on the same core, with the same requests.

The figure that holds on shared cores is the processor time per request, by the scheduler's own
accounting over the server's process tree; throughput and latency are printed beside it. All
servers are there from the beginning; one at a time runs and is asked. `make bench-peers` installs
the others.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from tests.bench.serving import load, networks
from tests.bench.serving.cases import Case, all_cases
from tests.bench.serving.process import ServerProcess, serving

PEERS = Path(".bench/peers")
LOGS = Path(".bench/serving/logs")
CONCURRENCY = (1, 8, 32)
JUDGED_AT = 8
ROUNDS = 5
BURST_S = 0.7
Entry = dict[str, Any]
Asking = Callable[[int, Case, int], AbstractContextManager[list[load.Ask]]]


@dataclass(frozen=True)
class Server:
    """A server that takes part.

    Args:
        name: What it is called.
        command: Starts it.
        asking: How it is asked.
        environment: What it needs in its environment.
    """

    name: str
    command: list[str]
    asking: Asking = load.over_grpc
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Figures:
    """What was measured of one server at one case and concurrency, a value per round."""

    cpu_us: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)


Key = tuple[str, str, int]  # server, case, concurrency


def servers(only: str = "") -> list[Server]:
    """Return the servers that are installed."""
    ours = [sys.executable, "-m", "tests.bench.serving.loopline_server", str(networks.FOLDER)]
    found = [
        Server("loopline", ours),
        Server("loopline, grpcio", ours, environment={"LOOPLINE_GRPC_FRONT": "grpcio"}),
    ]
    for name, asking in (
        ("pytriton", load.over_grpc),
        ("kserve", load.over_grpc),
        ("litserve", load.over_http),
    ):
        python = PEERS / name / "bin" / "python"
        if not (PEERS / name / ".ready").exists():
            continue
        script = Path(__file__).parent / "peers" / f"{name}_server.py"
        command = [str(python), str(script), str(networks.FOLDER)]
        found.append(Server(name, command, asking, _environment(name)))
    return [
        server for server in found if not only or server.name.partition(",")[0] in only.split(",")
    ]


def measure(
    found: list[Server], rounds: int, concurrency: tuple[int, ...], cases: list[Case]
) -> tuple[dict[Key, Figures], dict[str, list[float]]]:
    """Return the figures of every server, and the bare engine's cost of every case by round."""
    server_core, client_core = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {client_core})
    figures: dict[Key, Figures] = defaultdict(Figures)
    alone: dict[str, list[float]] = defaultdict(list)
    try:
        with ExitStack() as stack:
            raw_command = [sys.executable, "-m", "tests.bench.serving.raw"]
            raw = stack.enter_context(serving(raw_command, server_core, LOGS / "raw.log"))
            running = [(s, stack.enter_context(_started(s, server_core))) for s in found]
            for number in range(rounds + 1):  # the first one warms up
                for case in cases:
                    with raw.awake():
                        cost = float(raw.ask(f"{case.name} {BURST_S}"))
                    alone[case.name].append(cost)
                    for server, process in tuple(running):
                        try:
                            for clients in concurrency:
                                one_burst(server, process, case, clients, figures)
                        except TimeoutError:
                            running.remove((server, process))
                            leave_out(server, case, figures)
                if number == 0:
                    figures.clear()
                    alone.clear()
    finally:
        os.sched_setaffinity(0, before)
    return figures, alone


def leave_out(server: Server, case: Case, figures: dict[Key, Figures]) -> None:
    """Go on without a server that does not answer, and say so."""
    print(f"{server.name} is left out: no answer to a {case.name}", file=sys.stderr)
    for key in [key for key in figures if key[0] == server.name]:
        del figures[key]


def one_burst(
    server: Server,
    process: ServerProcess,
    case: Case,
    clients: int,
    figures: dict[Key, Figures],
) -> None:
    """Ask a server for `BURST_S`, by shared memory too where it is ours and the tensor is large."""
    ways: dict[str, Asking] = {case.name: server.asking}
    if (
        server.name.startswith("loopline")
        and case.network == networks.FLOAT
        and clients == JUDGED_AT
    ):
        ways[f"{case.name}, shared memory"] = load.over_shared_memory
    for name, asking in ways.items():
        with process.awake(), asking(process.port, case, clients) as asks:
            asks[0]()
            before = process.cpu_s()
            done = load.burst(asks, BURST_S)
            spent = process.cpu_s() - before
        found = figures[server.name, name, clients]
        found.cpu_us.append(spent / done.requests * 1e6)
        found.rate.append(done.requests / done.elapsed_s)
        found.latencies_s += done.latencies_s


def entries(figures: dict[Key, Figures], alone: dict[str, list[float]]) -> Iterator[Entry]:
    """Yield the goals of the issue that were measured."""
    cases = {case: costs for case, costs in alone.items() if case != "tiny network"}
    goals = {"600 KB float tensor": 0.70, "JPEG 640 x 480": 0.80}
    shared = {"600 KB float tensor, shared memory": 0.80}
    for name, goal in {**goals, **shared}.items():
        ours = figures.get(("loopline", name, JUDGED_AT))
        engine = cases.get(name.removesuffix(", shared memory"))
        if ours and engine:
            against = f"bare engine = 1 at {statistics.median(engine):,.0f} us; ours "
            against += f"{statistics.median(ours.cpu_us):,.0f} us"
            yield _entry(f"serving: {name}, efficiency", ratio(engine, ours.cpu_us), goal, against)
    for peer, case, least in (
        ("pytriton", "600 KB float tensor", 1.45),
        ("kserve", "600 KB float tensor", 1.6),
    ):
        ours, theirs = (figures.get((name, case, JUDGED_AT)) for name in ("loopline", peer))
        if ours and theirs:
            value = ratio(theirs.cpu_us, ours.cpu_us)
            yield _entry(f"serving: {case}, CPU of {peer} to ours", value, least, f"{peer}")
    tiny = [figures.get((name, "tiny network", JUDGED_AT)) for name in ("loopline", "kserve")]
    if tiny[0] and tiny[1]:
        value = ratio(tiny[0].cpu_us, tiny[1].cpu_us)
        against = f"KServe = 1 at {statistics.median(tiny[1].cpu_us):,.0f} us"
        yield _entry("serving: tiny network, CPU of KServe's", value, 0.4, against, most=True)


def ratio(above: list[float], below: list[float]) -> float:
    """Return the median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def show(figures: dict[Key, Figures], alone: dict[str, list[float]]) -> None:
    """Print every figure."""
    table = Table("case", "server", "at once", "CPU us", "eff", "req/s", "p50 ms", "p99 ms")
    for (server, case, clients), found in sorted(figures.items(), key=lambda one: one[0][1:]):
        engine = alone[case.removesuffix(", shared memory")]
        p50, p99 = np.percentile(found.latencies_s, [50, 99]) * 1e3
        table.add_row(
            case,
            server,
            str(clients),
            f"{statistics.median(found.cpu_us):,.0f}",
            f"{ratio(engine, found.cpu_us):.2f}",
            f"{statistics.median(found.rate):,.0f}",
            f"{p50:.1f}",
            f"{p99:.1f}",
        )
    for case, costs in alone.items():
        table.add_row(case, "bare engine", "", f"{statistics.median(costs):,.0f}", "1.00")
    Console(width=110).print(table)


def run(only: str = "", rounds: int = ROUNDS) -> list[Entry]:
    """Measure all servers, print the table, return the entries."""
    figures, alone = measure(servers(only), rounds, CONCURRENCY, all_cases())
    show(figures, alone)
    return list(entries(figures, alone))


def main() -> None:
    """Run by hand: fewer servers, cases or rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="servers, with commas")
    parser.add_argument("--case", default="", help="part of a case's name")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--clients", type=int, nargs="*", default=list(CONCURRENCY))
    given = parser.parse_args()
    cases = [case for case in all_cases() if given.case in case.name]
    figures, alone = measure(servers(given.only), given.rounds, tuple(given.clients), cases)
    show(figures, alone)
    print(json.dumps(list(entries(figures, alone)), indent=1))


def _started(server: Server, core: int) -> AbstractContextManager[ServerProcess]:
    return serving(server.command, core, LOGS / f"{server.name}.log", server.environment)


def _environment(name: str) -> dict[str, str]:
    if name != "pytriton":
        return {}
    # Triton's Python backend looks for the interpreter's library and for a home of its own.
    library = str(Path(sys.base_prefix) / "lib")
    home = (PEERS / "pytriton-home").resolve()
    home.mkdir(parents=True, exist_ok=True)
    return {"LD_LIBRARY_PATH": library, "PYTRITON_HOME": str(home)}


def _entry(name: str, value: float, goal: float, against: str, *, most: bool = False) -> Entry:
    return {
        "name": name,
        "value": round(value, 3),
        "unit": "ratio",
        "goal": f"{'<=' if most else '>='} {goal}",
        "holds": value <= goal if most else value >= goal,
        "against": against,
    }


if __name__ == "__main__":
    main()
