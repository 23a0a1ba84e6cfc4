"""From commands to requests: defaults, limits, names, and who asks."""

from __future__ import annotations

from loopline.contracts import Actor, AugmentDataset, ImportImages, ImportRules
from loopline.errors import Rejected
from loopline.names import validate_name
from loopline.vision.hash_index import MAX_BITS
from services.ingest.domain.checks import Rules
from services.ingest.domain.request import Request
from services.ingest.domain.splits import Shares
from services.ingest.settings import IngestSettings


def request_of(command: ImportImages, settings: IngestSettings, event_source: str) -> Request:
    """Return what a command asks for.

    Args:
        command: As it was published.
        settings: Defaults and limits.
        event_source: The CloudEvents source: who asks, where the command does not say.

    Raises:
        Rejected: A name is missing or not valid, or a rule is beyond a limit.
    """
    source = command.source
    if not source.connection or not source.bucket:
        raise Rejected("the command names no connection or no bucket", dataset=command.dataset)
    actor = asker(command, event_source)
    return Request(
        dataset=validate_name("dataset", command.dataset),
        connection=source.connection,
        bucket=source.bucket,
        prefix=source.prefix,
        labels_key=command.labels_key,
        rules=_rules(command.rules, settings),
        classes=tuple(command.classes),
        shares=Shares(settings.import_val_share, settings.import_test_share),
        actor=(actor.kind, actor.name),
    )


def asker(command: ImportImages | AugmentDataset, event_source: str) -> Actor:
    """Return who asks: the command's word, else the CloudEvents source."""
    if command.HasField("actor"):
        return command.actor
    return Actor(kind="external", name=event_source)


def _rules(rules: ImportRules, settings: IngestSettings) -> Rules:
    if rules.max_megapixels > settings.import_max_megapixels:
        raise Rejected(
            f"max_megapixels {rules.max_megapixels} is more than this service decodes "
            f"({settings.import_max_megapixels})"
        )
    if rules.near_duplicate_bits > MAX_BITS:
        raise Rejected(f"near_duplicate_bits {rules.near_duplicate_bits} is more than {MAX_BITS}")
    drop, bits = settings.import_drop_near_duplicates, settings.import_near_duplicate_bits
    return Rules(
        min_side_px=rules.min_side_px or settings.import_min_side_px,
        max_megapixels=rules.max_megapixels or settings.import_max_megapixels,
        max_object_bytes=settings.import_max_object_bytes,
        drop_near_duplicates=(
            rules.drop_near_duplicates if rules.HasField("drop_near_duplicates") else drop
        ),
        near_duplicate_bits=(
            rules.near_duplicate_bits if rules.HasField("near_duplicate_bits") else bits
        ),
    )
