"""Trees: what a version costs at 10,000, 100,000 and 1,000,000 items, and dvc beside it.

`python -m tests.bench.trees --items 1000000` measures one size; `--dvc-files 100000` takes dvc
further than the 10,000 files of `make bench` (it takes minutes, so 100,000 is the most it is asked
for).

Both sides write files on the same disk (`FolderBlobs`, dvc's cache), neither calls fsync, and what
was written is in the page cache when it is read. Items are metadata as an import makes it,
thumbnails of 784 random bytes included; the comparison with dvc is over real files and stores their
bytes too.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import psutil

from loopline.digests import sha256_hex
from loopline.store.blobs import FolderBlobs
from loopline.store.items import ITEMS, Item, Shape
from loopline.store.objects import Area, ObjectStore
from loopline.store.trees import Tree, TreeStore
from tests.bench import _dvc, _files
from tests.bench._timing import timed

SIZES = (10_000, 100_000, 1_000_000)
CHANGES = 100
VERSIONS = 9  # after the first; a figure is the best of them, since other work can only add to it
THUMBPRINT_BYTES = 784  # 28 x 28, as ingest keeps it
DVC_FILES = 10_000
DVC_FILES_MAX = 100_000
DVC_ROUNDS = 3  # up to `DVC_FILES`; more files are versioned once
CLASSES = (
    "bag",
    "boot",
    "coat",
    "dress",
    "pullover",
    "sandal",
    "shirt",
    "sneaker",
    "top",
    "trouser",
)
SLACK = 1.4  # how much more than the rows of the shards it touches a small change may grow
Entry = dict[str, Any]
T = TypeVar("T")


@dataclass
class Figures:
    """What one size costs, in seconds unless the name says otherwise."""

    items: int
    first_commit: float = 0.0
    first_commit_cpu: float = 0.0
    commit: float = 0.0
    diff: float = 0.0
    restore: float = 0.0
    open_version: float = 0.0
    column: float = 0.0
    root_bytes: int = 0
    shards: int = 0
    shards_touched: int = 0
    rows_touched: int = 0
    commit_bytes: int = 0
    stored_bytes: int = 0
    peak_mb: float = 0.0


class CountedFolder(FolderBlobs):
    """A folder that counts what is written."""

    written_bytes = 0

    def put(self, key: str, data: bytes, media_type: str = "application/octet-stream") -> None:
        self.written_bytes += len(data)
        super().put(key, data, media_type)


class PeakMemory:
    """Watches the process's own memory: files that are mapped are the page cache's to give up."""

    bytes = 0

    def __enter__(self) -> PeakMemory:
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        process = psutil.Process()
        while not self._done.wait(0.05):
            found = process.memory_info()
            self.bytes = max(self.bytes, found.rss - getattr(found, "shared", 0))


class Generated:
    """Items made as they are asked for; remembers how long that took."""

    def __init__(self, count: int) -> None:
        self.seconds = 0.0
        self.cpu_seconds = 0.0
        self._count = count
        self._random = random.Random(count)

    def __iter__(self) -> Iterator[Item]:
        for start in range(0, self._count, 10_000):
            began, began_cpu = time.perf_counter(), time.thread_time()
            block = [self._item(n) for n in range(start, min(start + 10_000, self._count))]
            self.seconds += time.perf_counter() - began
            self.cpu_seconds += time.thread_time() - began_cpu
            yield from block

    def _item(self, number: int) -> Item:
        """Return an item: three of four are labeled, one of ten of these with a box."""
        draw = self._random
        split = ("train", "train", "test", "")[number % 4]
        box = (1.0, 2.0, 20.5, 25.25) if number % 10 == 1 else None
        shape = Shape(f"{number:x}", draw.choice(CLASSES), bbox_xyxy=box, source="import:0f3a")
        return Item(
            asset=sha256_hex(b"%d" % number),
            media_type="image/png",
            size_bytes=draw.randrange(1_000, 100_000),
            width_px=28,
            height_px=28,
            split=split,
            source=f"s3://customer/photos/{number:07}.png",
            phash=draw.getrandbits(64),
            thumbprint=draw.randbytes(THUMBPRINT_BYTES),
            labeled=bool(split),
            shapes=(shape,) if split else (),
        )


def run(sizes: Sequence[int] = SIZES, dvc_files: int = DVC_FILES) -> list[Entry]:
    """Measure, and return the entries; no comparison with dvc for `dvc_files` of 0."""
    found = [_in_folder(partial(measure, size=size)) for size in sizes]
    entries = [entry for figures in found for entry in _entries(figures)]
    for small, large in pairwise(found):
        entries += _growth(small, large)
    if dvc_files:
        entries += _beside_dvc(min(dvc_files, DVC_FILES_MAX))
    return entries


async def measure(folder: Path, size: int) -> Figures:
    """Commit a dataset and changes of it, and read what was committed."""
    blobs = CountedFolder(folder)
    objects = ObjectStore(blobs, "bench")
    trees = TreeStore(objects, ITEMS)
    figures = Figures(size)
    rows = Generated(size)
    began_cpu = time.process_time()
    with PeakMemory() as peak:
        took, first = await timed(lambda: trees.write(rows))
    figures.first_commit = took - rows.seconds
    figures.first_commit_cpu = time.process_time() - began_cpu - rows.cpu_seconds
    figures.peak_mb = peak.bytes / 1e6
    figures.stored_bytes = blobs.written_bytes
    figures.shards = len(first.root.leaves)
    figures.root_bytes = (folder / objects.key(Area.TREES, first.root_object)).stat().st_size
    versions = await _change(trees, first, blobs, figures)
    await _read(trees, versions, figures)
    objects.close()
    return figures


async def _change(
    trees: TreeStore[Item], first: Tree[Item], blobs: CountedFolder, figures: Figures
) -> list[Tree[Item]]:
    """Relabel `CHANGES` items per version."""
    draw = random.Random(7)
    versions, seconds, written = [first], [], []
    for _ in range(VERSIONS):
        ids = [sha256_hex(b"%d" % n) for n in draw.sample(range(figures.items), CHANGES)]
        rows = await versions[-1].get(ids)
        relabeled = [_relabeled(row, draw.choice(CLASSES)) for row in rows.values()]
        before, blobs.written_bytes = blobs.written_bytes, 0
        took, tree = await timed(lambda: trees.apply(versions[-1], relabeled))  # noqa: B023
        seconds.append(took)
        written.append(blobs.written_bytes)
        blobs.written_bytes += before
        versions.append(tree)
    figures.commit = min(seconds)
    figures.commit_bytes = int(statistics.median(written))
    old = {leaf.digest for leaf in versions[-2].root.leaves}
    touched = [leaf for leaf in versions[-1].root.leaves if leaf.digest not in old]
    figures.shards_touched = len(touched)
    figures.rows_touched = sum(leaf.count for leaf in touched)
    return versions


def _relabeled(row: Item, class_name: str) -> Item:
    shape = Shape("corrected", class_name, source="labeler:anna")
    return replace(row, labeled=True, split=row.split or "train", shapes=(shape,))


async def _read(trees: TreeStore[Item], versions: list[Tree[Item]], figures: Figures) -> None:
    draw = random.Random(11)
    pairs = list(pairwise(versions))
    figures.diff = await _best(pairs, lambda pair: trees.diff(*pair))
    roots = [draw.choice(versions).root_object for _ in range(VERSIONS)]
    figures.open_version = await _best(roots, trees.open)

    async def restore(pair: tuple[Tree[Item], Tree[Item]]) -> None:
        """Do what a restore does before it commits: open, and count what changes."""
        old = await trees.open(pair[0].root_object)
        await trees.changes(pair[1], old)

    figures.restore = await _best(pairs, restore)
    figures.column = await _best(versions[:1], lambda tree: tree.table(["asset", "split"]))


def _entries(f: Figures) -> list[Entry]:
    about = f"{f.items:,} items"
    rate = (
        f"{f.items / f.first_commit:,.0f} items/s, {f.first_commit_cpu:.1f} s of CPU, "
        f"{f.stored_bytes / 1e6:,.0f} MB"
    )
    touched = f"{f.shards_touched} of {f.shards} shards, {f.commit_bytes / 1e6:.1f} MB written"
    figures = [
        ("first commit", f.first_commit, "s", rate),
        (f"commit of {CHANGES} changes", f.commit * 1e3, "ms", touched),
        (f"diff of {CHANGES} changes", f.diff * 1e3, "ms", "whole rows"),
        ("restore", f.restore * 1e3, "ms", "open the old root, count what changes"),
        ("open a random version", f.open_version * 1e3, "ms", f"root of {f.root_bytes:,} bytes"),
        ("read two columns", f.column * 1e3, "ms", "of every item"),
        ("peak memory", f.peak_mb, "MB", "of the first commit, without mapped files"),
    ]
    return [
        _entry(f"trees {name}, {about}", value, unit, None, None, against)
        for name, value, unit, against in figures
    ]


def _growth(small: Figures, large: Figures) -> list[Entry]:
    """Say how the figures of a small change grow with the dataset."""
    about = f"{large.items:,} over {small.items:,} items"
    rows = large.rows_touched / small.rows_touched
    roots = large.root_bytes / small.root_bytes
    entries = []
    for name in ("commit", "diff", "restore"):
        ratio, goal = getattr(large, name) / getattr(small, name), rows * SLACK
        against = f"{rows:.1f} x the rows in the shards it touches"
        entries.append(
            _entry(f"trees {name} growth, {about}", ratio, "x", goal, ratio <= goal, against)
        )
    ratio = large.open_version / small.open_version
    goal, against = roots * SLACK, f"{roots:.1f} x the size of the root"
    entries.append(_entry(f"trees open growth, {about}", ratio, "x", goal, ratio <= goal, against))
    return entries


def _beside_dvc(files: int) -> list[Entry]:
    """Version the same files with both."""
    if not (python := _dvc.environment()):
        return []
    rounds = DVC_ROUNDS if files <= DVC_FILES else 1
    theirs = _middle([_in_folder(partial(_dvc_on_files, python, files)) for _ in range(rounds)])
    ours = _middle(
        [_in_folder(partial(_files.measure, count=files, changes=CHANGES)) for _ in range(rounds)]
    )
    entries = []
    for step in ours:
        ratio = theirs[step] / ours[step]
        # Both have to store every byte once; what follows is where a tree is to pay.
        goal = None if step == "first commit" else 1.0
        against = f"dvc {_dvc.VERSION}: {theirs[step]:.2f} s, ours {ours[step]:.3f} s"
        holds = None if goal is None else ratio >= goal
        name = f"trees {step} beside dvc, {files:,} files"
        entries.append(_entry(name, ratio, "x faster", goal, holds, against))
    return entries


async def _dvc_on_files(python: Path, files: int, folder: Path) -> dict[str, float]:
    await asyncio.to_thread(_files.write, folder / "data", files)
    return await asyncio.to_thread(_dvc.measure, python, folder, CHANGES)


def _middle(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    return {step: statistics.median(seconds[step] for seconds in rounds) for step in rounds[0]}


def _entry(
    name: str, value: float, unit: str, goal: float | None, holds: bool | None, against: str
) -> Entry:
    return {
        "name": name,
        "value": round(value, 3),
        "unit": unit,
        "goal": None if goal is None else round(goal, 1),
        "holds": holds,
        "against": against,
    }


async def _best(values: Iterable[T], call: Callable[[T], Awaitable[Any]]) -> float:
    return min([(await timed(partial(call, value)))[0] for value in values])


def _in_folder(call: Callable[[Path], Awaitable[T]]) -> T:
    folder = Path(tempfile.mkdtemp(prefix="loopline-bench-"))
    try:
        return asyncio.run(_awaited(call(folder)))
    finally:
        shutil.rmtree(folder)


async def _awaited(call: Awaitable[T]) -> T:
    return await call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--dvc-files", type=int, default=0, help="0: without dvc")
    chosen = parser.parse_args()
    for entry in run(chosen.items, chosen.dvc_files):
        goal = "" if entry["goal"] is None else f"  goal {entry['goal']}: {entry['holds']}"
        about = f"{entry['value']:>12,.2f} {entry['unit']:9}({entry['against']}){goal}"
        print(f"{entry['name']:64}{about}", flush=True)


if __name__ == "__main__":
    main()
