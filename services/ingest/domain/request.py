"""What an import is asked to do, after defaults and limits."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from services.ingest.domain.checks import Rules
from services.ingest.domain.splits import Shares


@dataclass(frozen=True, slots=True)
class Request:
    """An import.

    Args:
        dataset: Where the items go.
        connection: Name of the customer's connection.
        bucket: The bucket.
        prefix: Of the keys to import.
        labels_key: Key of the CSV file with known labels; "" for none.
        rules: What is kept.
        classes: Of the dataset, in order; empty to leave them as they are or come.
        shares: Of the splits.
        actor: Kind and name of who asks.
    """

    dataset: str
    connection: str
    bucket: str
    prefix: str
    labels_key: str
    rules: Rules
    classes: tuple[str, ...]
    shares: Shares
    actor: tuple[str, str]

    @property
    def parameters(self) -> dict[str, Any]:  # JSON
        """What the result depends on beside the bucket's content and the code."""
        return {
            "dataset": self.dataset,
            "rules": asdict(self.rules),
            "classes": list(self.classes),
            "split_shares": asdict(self.shares),
        }
