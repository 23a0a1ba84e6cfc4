"""Files versioned by Loopline's own means, step by step as `_dvc_peer` has dvc do it."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

from loopline.store.blobs import FolderBlobs
from loopline.store.items import ITEMS, Item
from loopline.store.objects import Area, ObjectStore
from loopline.store.trees import Tree, TreeStore
from tests.bench._timing import timed

FILE_BYTES = 400


async def measure(folder: Path, count: int, changes: int) -> dict[str, float]:
    """Do to files what the comparison has dvc do: the bytes are stored, found and put back."""
    data = folder / "data"
    await asyncio.to_thread(write, data, count)
    objects = ObjectStore(FolderBlobs(folder / "store"), "bench")
    trees = TreeStore(objects, ITEMS)
    seen: dict[Path, tuple[str, int]] = {}
    first_s, first = await timed(lambda: trees.write(_import(objects, data, seen)))
    await asyncio.to_thread(_change, data, changes)

    async def change() -> Tree[Item]:
        old = {path: digest for path, (digest, _) in seen.items()}
        new = [item async for item in _import(objects, data, seen)]
        gone = [digest for path, digest in old.items() if seen[path][0] != digest]
        return await trees.apply(first, new, gone)

    change_s, second = await timed(change)
    diff_s, diff = await timed(lambda: trees.diff(first, second))
    assert diff.counts() == {"added": changes, "changed": 0, "removed": changes}

    async def restore() -> None:
        """Put the files of the first version back."""
        back = await trees.diff(second, await trees.open(first.root_object))
        contents = await objects.get_many(Area.ASSETS, list(back.added))
        paths = [Path(row.source) for row in back.added.values()]
        await asyncio.to_thread(lambda: list(map(Path.write_bytes, paths, contents)))

    restore_s, _ = await timed(restore)
    objects.close()
    return {"first commit": first_s, "commit": change_s, "diff": diff_s, "restore": restore_s}


async def _import(
    objects: ObjectStore, data: Path, seen: dict[Path, tuple[str, int]]
) -> AsyncIterator[Item]:
    """Store the files that are new or changed since they were seen, and yield their items."""
    fresh = []
    for entry in sorted(os.scandir(data), key=lambda entry: entry.name):
        path, modified_ns = Path(entry.path), entry.stat().st_mtime_ns
        if path not in seen or seen[path][1] != modified_ns:
            fresh.append((path, modified_ns))
    for start in range(0, len(fresh), 1_000):
        some = fresh[start : start + 1_000]
        contents = [path.read_bytes() for path, _ in some]
        digests = await objects.put_many(Area.ASSETS, contents)
        for (path, modified_ns), content, digest in zip(some, contents, digests, strict=True):
            seen[path] = digest, modified_ns
            yield Item(digest, "application/octet-stream", len(content), 1, 1, source=str(path))


def write(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    draw = random.Random(3)
    for number in range(count):
        (folder / f"{number:06}.bin").write_bytes(draw.randbytes(FILE_BYTES))


def _change(folder: Path, changes: int) -> None:
    for path in sorted(folder.iterdir())[:changes]:
        path.write_bytes(os.urandom(FILE_BYTES))
