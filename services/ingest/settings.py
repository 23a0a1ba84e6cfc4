"""Settings of ingest, from `LOOPLINE_*` variables."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from loopline.runtime.settings import ServiceSettings


class IngestSettings(ServiceSettings):
    """Limits of an import, and what its rules are where the command says nothing."""

    import_max_objects: Annotated[int, Field(gt=0)] = 1_000_000
    """Objects listed in one import; more are refused before anything is fetched."""
    import_chunk_objects: Annotated[int, Field(gt=0)] = 256
    """Objects of one chunk; more where an import would have more than 1,000 chunks."""
    import_max_object_bytes: Annotated[int, Field(gt=0)] = 64 * 2**20
    """Larger objects are dropped unread."""
    import_max_megapixels: Annotated[int, Field(gt=0)] = 100
    """Larger images are dropped before they are decoded; a command may ask for less, not more."""
    import_max_labels_bytes: Annotated[int, Field(gt=0)] = 256 * 2**20
    """Size of the CSV file with known labels."""
    import_min_side_px: Annotated[int, Field(gt=0)] = 16
    """Images with a shorter side are dropped."""
    import_drop_near_duplicates: bool = True
    """Whether one of two images that show the same is dropped."""
    import_near_duplicate_bits: Annotated[int, Field(ge=0, le=16)] = 6
    """How far apart, of 64 bits, the perceptual hashes of two such images may be."""
    import_fetch_threads: Annotated[int, Field(gt=0)] = 16
    """Objects read from the customer's bucket, or stored, at once by one process."""
    import_decode_threads: Annotated[int, Field(ge=0)] = 0
    """Images decoded at once by one process; 0 for as many as it has processors."""
    import_batch_bytes: Annotated[int, Field(gt=0)] = 64 * 2**20
    """Encoded bytes in memory at once, per chunk in work (or one object, if it is larger)."""
    import_val_share: Annotated[float, Field(ge=0, lt=0.5)] = 0.1
    """Share of the items that go to the split "val", where nobody says."""
    import_test_share: Annotated[float, Field(ge=0, lt=0.5)] = 0.15
    """Share of a first import's labeled items that become the frozen test split, likewise."""
