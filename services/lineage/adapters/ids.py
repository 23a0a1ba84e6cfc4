"""Many ids as a table to join with: one parameter, however many they are."""

from __future__ import annotations

from collections.abc import Collection

import orjson
from sqlalchemy import Connection, TableValuedAlias, Text, cast, func, literal
from sqlalchemy.dialects import postgresql


def ids_table(connection: Connection, ids: Collection[str]) -> TableValuedAlias:
    """Return a table with the one column `value`."""
    values = literal(orjson.dumps(list(ids)).decode(), Text)
    if connection.dialect.name == "postgresql":
        function = func.json_array_elements_text(cast(values, postgresql.JSON))
        return function.table_valued("value", name="ids")
    return func.json_each(values).table_valued("value", name="ids")
