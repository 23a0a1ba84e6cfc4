"""Is everything there that commits reach, and what is there that they don't?

`fsck` reports, `gc` removes. Both follow `reachability`; neither touches an object that is younger
than the grace period, since a writer stores its bytes first and commits them afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from loopline.clock import Clock, SystemClock
from loopline.errors import Corrupt, NotFound, Rejected
from loopline.store.objects import Area, ObjectStore
from loopline.store.reachability import AnyCommitted, Problem, Reached, reach
from loopline.store.shards import in_order

__all__ = ["FsckReport", "Garbage", "GcReport", "Problem", "fsck", "gc"]

GRACE = timedelta(days=7)  # longer than any command is redelivered before it is dead
READS_IN_FLIGHT = 16

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Garbage:
    """An object that no commit reaches.

    Args:
        area: Where it is.
        digest: Its name.
        size_bytes: Its size.
        modified_at: When it was last written (UTC).
    """

    area: Area
    digest: str
    size_bytes: int
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class FsckReport:
    """What `fsck` found.

    Args:
        commits: Commits that were followed.
        reachable: Objects that they reach.
        missing: Those that are not there.
        corrupt: Those whose bytes, or whose rows, are not what their names say.
        garbage: Objects that no commit reaches, of any age.
        deep: Every object was read.
    """

    commits: int
    reachable: int
    missing: tuple[Problem, ...]
    corrupt: tuple[Problem, ...]
    garbage: tuple[Garbage, ...]
    deep: bool

    @property
    def ok(self) -> bool:
        """Nothing is missing and nothing corrupt; garbage is no fault."""
        return not self.missing and not self.corrupt

    @property
    def garbage_bytes(self) -> int:
        """How much the garbage takes."""
        return sum(found.size_bytes for found in self.garbage)


@dataclass(frozen=True, slots=True)
class GcReport:
    """What `gc` removed, or would remove.

    Args:
        removed: The objects.
        young: How many unreachable objects it left, since a commit may be on its way.
        dry_run: Nothing was removed.
    """

    removed: tuple[Garbage, ...]
    young: int
    dry_run: bool

    @property
    def freed_bytes(self) -> int:
        """How much they took."""
        return sum(found.size_bytes for found in self.removed)


async def fsck(
    commits: Iterable[AnyCommitted], objects: ObjectStore, *, deep: bool = False
) -> FsckReport:
    """Compare what commits reach with what is stored.

    Args:
        commits: All commits of the workspace, whole histories. Read them before: an object that is
            committed meanwhile then counts as garbage, which the grace period of `gc` forgives.
        objects: Where the objects are.
        deep: Read every reachable object and compute its hash, and that of every row, again.
    """
    reached = await reach(commits, objects, verify=deep)
    missing, present, garbage = await _compare(reached, objects)
    if deep:
        await _read_all(reached, present, objects)
    problems = {(found.area, found.digest) for found in reached.missing}
    report = FsckReport(
        commits=len(reached.names),
        reachable=sum(map(len, reached.objects.values())),
        missing=(*reached.missing, *(m for m in missing if (m.area, m.digest) not in problems)),
        corrupt=tuple(reached.corrupt),
        garbage=tuple(garbage),
        deep=deep,
    )
    log.info(
        "fsck_completed",
        commits=report.commits,
        reachable=report.reachable,
        missing=len(report.missing),
        corrupt=len(report.corrupt),
        garbage=len(report.garbage),
        garbage_bytes=report.garbage_bytes,
        deep=deep,
    )
    return report


async def gc(
    commits: Iterable[AnyCommitted],
    objects: ObjectStore,
    *,
    dry_run: bool = True,
    grace: timedelta = GRACE,
    clock: Clock | None = None,
) -> GcReport:
    """Remove the objects that no commit reaches and that are older than the grace period.

    Storing bytes again makes their object young again, so a writer that stores what it commits, as
    all do, has the whole grace period for it.

    Args:
        commits: All commits of the workspace, whole histories.
        objects: Where the objects are.
        dry_run: Say what would be removed, and leave it.
        grace: Objects written more recently than this are left alone.
        clock: What time it is.

    Raises:
        Rejected: There are objects and no commits, or a tree cannot be read: what it reaches would
            look like garbage. With `dry_run` too, since the answer would be wrong.
    """
    report = await fsck(commits, objects)
    broken = [found for found in (*report.missing, *report.corrupt) if found.area == Area.TREES]
    if broken:
        raise Rejected(
            f"tree object {broken[0].digest} of {broken[0].referenced_by} cannot be read, so what "
            "it reaches is not known: repair it first",
            objects=len(broken),
        )
    if report.garbage and not report.commits:
        raise Rejected("there are objects but no commits: this is not the log they belong to")
    before = (clock or SystemClock()).now() - grace
    old = [found for found in report.garbage if found.modified_at < before]
    if not dry_run:
        async for _ in in_order(old, lambda g: objects.delete(g.area, g.digest), READS_IN_FLIGHT):
            pass
    result = GcReport(tuple(old), len(report.garbage) - len(old), dry_run)
    log.info("gc_completed", removed=len(old), freed_bytes=result.freed_bytes, dry_run=dry_run)
    return result


async def _compare(
    reached: Reached, objects: ObjectStore
) -> tuple[list[Problem], list[tuple[Area, bytes]], list[Garbage]]:
    """Return what is missing, what is reachable and present, and what is garbage."""
    present: list[tuple[Area, bytes]] = []
    garbage: list[Garbage] = []
    found_either: set[str] = set()
    for area in Area:
        known = reached.objects[area]
        async for info in objects.list(area):
            areas, commit = reached.either.get(info.digest, ((), 0))
            if area in areas:
                known.setdefault(bytes.fromhex(info.digest), commit)
                found_either.add(info.digest)
            if bytes.fromhex(info.digest) in known:
                present.append((area, bytes.fromhex(info.digest)))
            else:
                garbage.append(Garbage(area, info.digest, info.size_bytes, info.modified_at))
    missing = _missing(reached, set(present))
    missing += [
        Problem(areas[0], digest, f"there is none in {', '.join(areas)}", reached.names[commit])
        for digest, (areas, commit) in reached.either.items()
        if digest not in found_either
    ]
    return missing, present, garbage


def _missing(reached: Reached, present: set[tuple[Area, bytes]]) -> list[Problem]:
    return [
        Problem(area, name.hex(), "there is no such object", reached.names[commit])
        for area, names in reached.objects.items()
        for name, commit in names.items()
        if (area, name) not in present
    ]


async def _read_all(
    reached: Reached, present: list[tuple[Area, bytes]], objects: ObjectStore
) -> None:
    """Compute the hash of every reachable object that is not known to be corrupt."""
    known = {(found.area, found.digest) for found in reached.corrupt}

    async def read(found: tuple[Area, bytes]) -> None:
        area, name = found
        try:
            await objects.get(area, name.hex())
        except (NotFound, Corrupt) as error:
            reached.problem(area, name.hex(), error, reached.objects[area][name])

    unread = [found for found in present if (found[0], found[1].hex()) not in known]
    async for _ in in_order(unread, read, READS_IN_FLIGHT):
        pass
