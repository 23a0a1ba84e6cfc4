"""Which items of a dataset version a model is applied to: an `apply` rule over `item`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from loopline.errors import Rejected
from loopline.flows import observations
from loopline.flows.contexts import Kind
from loopline.flows.rules import compile_rule
from loopline.store.items import Item

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

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of an item that must be read to evaluate it."""
        fields = self._rule.fields("item") if self._rule else ()
        return tuple(sorted({"asset", *(_COLUMNS.get(name, name) for name in fields)}))

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
