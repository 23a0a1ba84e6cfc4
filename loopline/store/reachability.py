"""What commits reach: THE table of the objects that each kind of message names, and what trees add.

An object that no commit reaches is garbage, and one that a commit reaches must be there. `fsck` and
`gc` ask here and nowhere else, so a new field that names an object needs a line in `RULES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import pyarrow as pa
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from loopline import contracts as c
from loopline.errors import Corrupt, LooplineError, NotFound
from loopline.store.commits import Committed
from loopline.store.items import CODECS
from loopline.store.objects import Area, ObjectStore
from loopline.store.roots import Root
from loopline.store.shards import Leaf, Shards, in_order

AnyCommitted = Committed[Message]


@dataclass(frozen=True, slots=True)
class Rule:
    """A field that names an object.

    Args:
        field: The field that holds the object's digest; an empty one names nothing.
        areas: Where the object is: in one of these, and kept in each that has it.
        when: Only messages of which this is true.
    """

    field: str
    areas: tuple[Area, ...]
    when: Callable[[Message], bool] = lambda message: True


def _is_report(message: Message) -> bool:
    return isinstance(message, c.ArtefactRef) and (
        message.kind == c.ArtefactKind.ARTEFACT_KIND_REPORT
    )


FILES = (Area.REPORTS, Area.CHECKPOINTS, Area.PLANS, Area.MODELS)
RULES: dict[str, tuple[Rule, ...]] = {
    # A tree's root; its shards, and the assets of its rows, follow from it.
    c.TreeRef.DESCRIPTOR.full_name: (Rule("root_object", (Area.TREES,)),),
    c.ModelFile.DESCRIPTOR.full_name: (Rule("digest", (Area.MODELS,)),),
    c.Evaluation.DESCRIPTOR.full_name: (
        Rule("report_digest", FILES),
        Rule("outcomes_digest", FILES),
        Rule("page_digest", FILES),
    ),
    # What a run made or read beside versions: drop reports, checkpoints, plans.
    c.ArtefactRef.DESCRIPTOR.full_name: (Rule("digest", FILES, _is_report),),
    c.PredictionsCommitted.DESCRIPTOR.full_name: (Rule("selection_digest", FILES),),
    c.OpenLabelingJob.DESCRIPTOR.full_name: (
        Rule("items_digest", FILES),
        Rule("ground_truth_digest", FILES),
    ),
    c.LabelsSubmitted.DESCRIPTOR.full_name: (Rule("asset", (Area.ASSETS,)),),
    c.ItemReviewed.DESCRIPTOR.full_name: (Rule("asset", (Area.ASSETS,)),),
}
"""By the full name of a message, wherever it stands in a commit."""


@dataclass(frozen=True, slots=True)
class Problem:
    """An object that is reachable and not as it should be.

    Args:
        area: Where it should be.
        digest: Its name.
        reason: What is wrong.
        referenced_by: The commit that reaches it first.
    """

    area: Area
    digest: str
    reason: str
    referenced_by: str


@dataclass
class Reached:
    """What the commits of a workspace reach.

    Args:
        objects: Per area, the digests (32 bytes) and the number of the commit that reached each
            first.
        either: Objects that may be in one of several areas: (areas, digest, number of the commit).
        names: The commits by number, for people.
        missing: Tree objects that were asked for and are not there.
        corrupt: Tree objects that are not what they should be.
    """

    objects: dict[Area, dict[bytes, int]] = field(default_factory=lambda: {a: {} for a in Area})
    either: dict[str, tuple[tuple[Area, ...], int]] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    missing: list[Problem] = field(default_factory=list)
    corrupt: list[Problem] = field(default_factory=list)

    def note(self, areas: tuple[Area, ...], digest: str, commit: int) -> bool:
        """Keep that a commit reaches an object; tell whether that is new."""
        if len(areas) > 1:
            return self.either.setdefault(digest, (areas, commit))[1] == commit
        known = self.objects[areas[0]]
        name = bytes.fromhex(digest)
        new = name not in known
        known.setdefault(name, commit)
        return new

    def problem(self, area: Area, digest: str, error: LooplineError, commit: int) -> None:
        """Keep what is wrong with an object."""
        found = self.missing if isinstance(error, NotFound) else self.corrupt
        found.append(Problem(area, digest, error.message, self.names[commit]))


async def reach(
    commits: Iterable[AnyCommitted], objects: ObjectStore, *, verify: bool = False
) -> Reached:
    """Follow every commit to everything it reaches.

    Args:
        commits: All commits of the workspace, not the heads alone: every version can be restored.
        objects: Where the objects are.
        verify: Compute the digests, counters and places of all rows again.
    """
    reached = Reached()
    for number, committed in enumerate(commits):
        reached.names.append(f"{committed.subject} @ {committed.sequence}")
        for message, rule, digest in references(committed.message):
            new = reached.note(rule.areas, digest, number)
            if new and isinstance(message, c.TreeRef):
                await _reach_tree(message, number, reached, objects, verify)
    return reached


def references(message: Message) -> Iterator[tuple[Message, Rule, str]]:
    """Yield (message, rule, digest) for every object that a message, or one in it, names."""
    for rule in RULES.get(message.DESCRIPTOR.full_name, ()):
        digest: str = getattr(message, rule.field)
        if digest and rule.when(message):
            yield message, rule, digest
    for descriptor, value in message.ListFields():
        if _is_ours(descriptor):
            for part in [value] if isinstance(value, Message) else value:
                yield from references(part)


def _is_ours(descriptor: FieldDescriptor) -> bool:
    kind = descriptor.message_type
    if kind is None or kind.GetOptions().map_entry:
        return False
    return str(kind.full_name).startswith("loopline.")


async def _reach_tree(
    ref: c.TreeRef, commit: int, reached: Reached, objects: ObjectStore, verify: bool
) -> None:
    try:
        root = Root.from_bytes(await objects.get(Area.TREES, ref.root_object))
        if (root.digest, root.count) != (ref.digest, ref.count) or root.codec not in CODECS:
            raise Corrupt(f"it holds {root.count} {root.codec} as {root.digest}, not what was said")
    except (NotFound, Corrupt) as error:
        reached.problem(Area.TREES, ref.root_object, error, commit)
        return
    shards = Shards(objects, CODECS[root.codec])

    async def read(leaf: Leaf) -> None:
        try:
            table = await shards.load(leaf, None if verify else [shards.codec.id_column])
            if verify:
                await shards.verify(leaf, table)
        except (NotFound, Corrupt) as error:
            await _blame(leaf, error, commit, reached, objects)
        else:
            _note_assets(table.column(shards.codec.id_column), reached, commit)

    new = [leaf for leaf in root.leaves if _note_shard(leaf, reached, commit)]
    async for _ in in_order(new, read):
        pass


async def _blame(
    leaf: Leaf, error: LooplineError, commit: int, reached: Reached, objects: ObjectStore
) -> None:
    """Keep which objects of an unreadable shard are to blame."""
    blamed = False
    for digest in leaf.objects:
        try:
            await objects.get(Area.TREES, digest)
        except (NotFound, Corrupt) as found:
            reached.problem(Area.TREES, digest, found, commit)
            blamed = True
    if not blamed:
        reached.problem(Area.TREES, leaf.objects[0], error, commit)


def _note_shard(leaf: Leaf, reached: Reached, commit: int) -> bool:
    new = [reached.note((Area.TREES,), digest, commit) for digest in leaf.objects]
    return any(new)


def _note_assets(ids: pa.ChunkedArray, reached: Reached, commit: int) -> None:
    # A million assets: no call per asset.
    known = reached.objects[Area.ASSETS]
    for name in map(bytes.fromhex, ids.to_pylist()):
        known.setdefault(name, commit)
