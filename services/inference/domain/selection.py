"""Which items of a dataset version a model is applied to: an `apply` rule over `item`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

import pyarrow as pa

from loopline.errors import Rejected
from loopline.flows import observations
from loopline.flows.contexts import Kind
from loopline.flows.rules import compile_rule
from loopline.store.items import Item

_REPEATING: Final = frozenset({"labeled", "split", "tags", "media_type", "width_px", "height_px"})
_KNOWN_MAX: Final = 10_000
_COLUMNS: Final = {"classes": "shapes", "file_name": "source"}  # field: column, where they differ
# A compiled rule costs some 10 us an item; these, which flows use most, cost next to nothing.
_PLAIN: Final[Mapping[str, Callable[[Item], bool]]] = {
    "": lambda item: True,
    "true": lambda item: True,
    "item.labeled": lambda item: item.labeled,
    "!item.labeled": lambda item: not item.labeled,
}


class Selection:
    """A compiled `where`.

    Args:
        where: CEL over `item` (docs/flows.md has its fields); empty selects every item.

    Raises:
        Rejected: It does not compile, or names a field that items don't have.

    Example:
        >>> Selection("!item.labeled && 'front' in item.tags").columns
        ('asset', 'labeled', 'tags')
    """

    def __init__(self, where: str) -> None:
        self.where = where.strip()
        self._rule = compile_rule(Kind.APPLY, self.where) if self.where else None
        self._plain = _PLAIN.get(self.where)
        self._known: dict[tuple[Any, ...], bool] = {}

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of an item that must be read to evaluate it."""
        fields = self._rule.fields("item") if self._rule else ()
        return tuple(sorted({"asset", *(_COLUMNS.get(name, name) for name in fields)}))

    @property
    def repeats(self) -> bool:
        """Whether few different values decide it, so that `of` is much faster than `selects`."""
        fields = self._rule.fields("item") if self._rule else frozenset()
        return fields <= _REPEATING

    def of(self, table: pa.Table) -> list[str]:
        """Return the assets that are selected of `columns` of items: asked once for equal values.

        Raises:
            Rejected: As `selects`.
        """
        names = [name for name in self.columns if name != "asset"]
        assets = table.column("asset").to_pylist()
        if not names:
            blank = Item("", "", 0, 0, 0)
            return assets if self.selects(blank) else []
        columns = [_hashable(table.column(name).to_pylist()) for name in names]
        known, found = self._known, []
        if len(known) > _KNOWN_MAX:
            known.clear()
        for asset, values in zip(assets, zip(*columns, strict=True), strict=True):
            selected = known.get(values)
            if selected is None:
                item = replace(Item(asset, "", 0, 0, 0), **dict(zip(names, values, strict=True)))
                selected = known[values] = self.selects(item)
            if selected:
                found.append(asset)
        return found

    def selects(self, item: Item) -> bool:
        """Tell whether the item is selected.

        Raises:
            Rejected: The rule cannot be evaluated on it, or gives no truth value.
        """
        if self._plain is not None or self._rule is None:
            return self._plain is None or self._plain(item)
        try:
            return self._rule.holds({"item": observations.item(item)})
        except Rejected as error:
            raise Rejected(
                f"item {item.asset}: {error.message}", asset=item.asset, where=self.where
            ) from error


def _hashable(values: Iterable[Any]) -> list[Any]:
    return [tuple(value) if isinstance(value, list) else value for value in values]
