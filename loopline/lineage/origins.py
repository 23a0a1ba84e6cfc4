"""Where the images of a dataset came from: which version first had each, and by which import."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from loopline.contracts import ArtefactKind, DatasetCommitted, RunKind
from loopline.errors import Corrupt, NotFound
from loopline.lineage.journal import Journal
from loopline.store.commits import Committed
from loopline.store.items import ITEMS, Item
from loopline.store.objects import ObjectStore
from loopline.store.trees import TreeStore

First = tuple[Committed[DatasetCommitted], Item]
"""The first version that has an asset, and the item there."""


class Origins:
    """Which version of a dataset first had an image, and where that came from."""

    def __init__(self, journal: Journal, objects: ObjectStore) -> None:
        self._journal = journal
        self._trees = TreeStore(objects, ITEMS)

    async def first(self, dataset: str, version: int, assets: Iterable[str]) -> dict[str, First]:
        """Return the first version that has each asset, up to `version`, and its item there."""
        wanted = set(assets)
        found: dict[str, First] = {}
        for committed in self._journal.history("dataset", dataset):
            if not wanted or committed.ref.version > version:
                break
            tree = await self._trees.open(committed.message.tree.root_object)
            rows = await tree.get(sorted(wanted))
            found |= {asset: (committed, row) for asset, row in rows.items()}
            wanted -= rows.keys()
        return found

    async def unproven(self, dataset: str, version: int, assets: Sequence[str]) -> dict[str, str]:
        """Return, for each asset that no import brought in, why it is not proven."""
        try:
            found = await self.first(dataset, version, assets)
        except (NotFound, Corrupt) as error:
            return dict.fromkeys(assets, error.message)
        nowhere = f"no version of {dataset} up to v{version} has it"
        return {
            asset: _not_imported(*found[asset]) if asset in found else nowhere for asset in assets
        }


def _not_imported(committed: Committed[DatasetCommitted], item: Item) -> str:
    """Return why an item is not one that the version's run imported, or ""."""
    run, name = committed.commit.run, f"{committed.ref.name}@v{committed.ref.version}"
    if run.kind != RunKind.RUN_KIND_IMPORT:
        return f"it came with {name}, which no import made"
    sources = [ref.name for ref in run.inputs if ref.kind == ArtefactKind.ARTEFACT_KIND_SOURCE]
    if not any(item.source.startswith(source) for source in sources):
        return f"it came with {name} from {item.source}, which that import did not read"
    return ""
