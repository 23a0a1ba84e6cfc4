"""Lineage: how fast commits become a graph, and how fast the graph answers.

`python -m tests.bench.lineage` prints the entries.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import nats
from sqlalchemy import Engine

from loopline.contracts import (
    Actor,
    ArtefactKind,
    ArtefactRef,
    Commit,
    DatasetCommitted,
    Run,
    RunKind,
    catalog,
)
from loopline.contracts.catalog import Stream
from loopline.digests import digest_of
from loopline.runtime.admin import stream_config
from loopline.store.commits import CommitLog, Committed
from loopline.store.database import open_database
from loopline.store.log_reader import LogBatch, StreamReader
from loopline.store.logstore import Record
from loopline.store.projections import Projector
from loopline.testing.memory import ManualClock, MemoryLog
from loopline.testing.postgres import PostgresServer
from loopline.testing.provenance import Provenance
from loopline.testing.servers import start_nats
from services.lineage.adapters.projection import LineageGraph
from services.lineage.adapters.queries import GraphReader

COMMITS = 10_000
CHAIN = 3_334  # dataset versions, each with its run and its source: 10,000 nodes upstream
BATCH = 500
SHOWN = 500  # nearest nodes that come back with their rows, as the API asks by default
ROUNDS = 7
Entry = dict[str, Any]


def run() -> list[Entry]:
    """Measure, and return the entries."""
    with tempfile.TemporaryDirectory(prefix="loopline-bench-") as folder:
        return asyncio.run(_run(Path(folder)))


async def _run(folder: Path) -> list[Entry]:
    records = await _records()
    postgres_folder = Path(tempfile.mkdtemp(prefix="loopline-bench-postgres-"))
    server = PostgresServer(postgres_folder)
    server.start()
    try:
        entries = []
        for name, url in (
            ("sqlite", f"sqlite:///{folder}/projected.db"),
            ("postgresql", server.new_database()),
        ):
            rate = await _projected_per_s(folder / f"nats-{name}", open_database(url), records)
            entries.append(_entry(f"lineage projecting, {name}", rate, "commits/s", 2_000, rate))
        for name, url in (
            ("sqlite", f"sqlite:///{folder}/chain.db"),
            ("postgresql", server.new_database()),
        ):
            seconds, nodes = await _closure_s(open_database(url))
            about = f"lineage upstream closure over {nodes} nodes, {SHOWN} shown, {name}"
            entries.append(_entry(about, seconds * 1e3, "ms", 100, -seconds * 1e3))
        return entries
    finally:
        server.stop()


def _entry(name: str, value: float, unit: str, goal: float, more_is_better: float) -> Entry:
    holds = more_is_better >= (goal if more_is_better > 0 else -goal)
    return {
        "name": name,
        "value": round(value, 1),
        "unit": unit,
        "goal": goal,
        "holds": holds,
        "against": "the goal",
    }


async def _records() -> list[Record]:
    """Return the messages of many turns of the flywheel, as they stand in the stream."""
    records: list[Record] = []
    turn = 0
    while len(records) < COMMITS:
        memory, clock = MemoryLog(), ManualClock()
        log = CommitLog(memory, "default", source="bench", clock=clock)
        await Provenance(log, clock, f"catalogue-{turn}").turn()
        records += memory.records
        turn += 1
    return records[:COMMITS]


async def _projected_per_s(folder: Path, engine: Engine, records: Sequence[Record]) -> float:
    """Publish the messages to a real server and project its stream: reading, decoding, writing."""
    server = start_nats(folder)
    try:
        client = await nats.connect(server.url)
        js = client.jetstream()
        await js.add_stream(stream_config(Stream.COMMITS))
        for at in range(0, len(records), BATCH):
            part = records[at : at + BATCH]
            await asyncio.gather(
                *(js.publish(r.subject, r.data, headers=dict(r.headers)) for r in part)
            )
        projector = Projector(engine, LineageGraph(), StreamReader(js, "default"))
        await projector.open()
        gc.collect()
        gc.freeze()  # as the service does when it has started
        started = time.perf_counter()
        applied = await projector.catch_up()
        elapsed = time.perf_counter() - started
        assert applied == len(records)
        assert not await projector.skips()
        await client.close()
        return len(records) / elapsed
    finally:
        server.process.stop()
        engine.dispose()


class _Chain:
    """A log of dataset versions, each made from the one before and from a source of its own."""

    async def last_sequence(self) -> int:
        return CHAIN

    async def read(self, after: int, until: int | None = None) -> AsyncGenerator[LogBatch, None]:
        for first in range(after + 1, (until or CHAIN) + 1, BATCH):
            last = min(first + BATCH - 1, CHAIN)
            commits = tuple(_version(n) for n in range(first, last + 1))
            yield LogBatch(first - 1, last, commits)


def _version(number: int) -> Committed[DatasetCommitted]:
    def ref(kind: str, name: str, version: int = 0, role: str = "") -> ArtefactRef:
        value: ArtefactKind = ArtefactKind.Value(f"ARTEFACT_KIND_{kind}")  # type: ignore[assignment]
        digest = digest_of([kind, name, version])
        return ArtefactRef(kind=value, name=name, version=version, digest=digest, role=role)

    source = ref("SOURCE", f"s3://customer/photos-{number}/", role="images")
    before = ref("DATASET", "chain", number - 1, "base")
    made = Run(
        id=digest_of(["run", number]),
        kind=RunKind.RUN_KIND_IMPORT,
        inputs=[source, before] if number > 1 else [source],
        outputs=[ref("REPORT", f"drops-{number}", role="drop_report")],
        actor=Actor(kind="user", name="olga"),
    )
    commit = Commit(artefact=ref("DATASET", "chain", number), run=made, summary="600 images")
    if number > 1:
        commit.parent.CopyFrom(before)
    subject = catalog.DATASET_COMMITTED.subject("default", name="chain")
    return Committed(DatasetCommitted(commit=commit), subject, number)


async def _closure_s(engine: Engine) -> tuple[float, int]:
    """Return the median time of the closure of the last version, and how many nodes it has."""
    projector = Projector(engine, LineageGraph(), _Chain())
    await projector.open()
    await projector.catch_up()
    reader = GraphReader(engine)
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        found = reader.closure(f"dataset:chain@{CHAIN}", "upstream", SHOWN, fold=True)
        times.append(time.perf_counter() - started)
        assert len(found.nodes) == SHOWN
    assert found.total == 3 * CHAIN  # reports are made, not read
    engine.dispose()
    return sorted(times)[len(times) // 2], found.total


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(), indent=1))
