"""Bringing images in: by upload, or from a bucket."""

from __future__ import annotations

from pydantic import Field

from services.console.bodies.base import In, Name, Out
from services.console.bodies.runs import RunOut

CLASSES_MAX = 10_000


class PlaceIn(In):
    """A place in a customer's object storage."""

    connection: Name
    bucket: str = Field(min_length=1, max_length=255)
    prefix: str = Field(default="", max_length=1024)


class RulesIn(In):
    """What is kept; what is left out is the service's default."""

    min_side_px: int = Field(default=0, ge=0, le=100_000)
    max_megapixels: int = Field(default=0, ge=0, le=10_000)
    drop_near_duplicates: bool | None = None
    near_duplicate_bits: int | None = Field(default=None, ge=0, le=64)


class ImportIn(In):
    """Imports images into a dataset: give `source` or `upload`."""

    dataset: Name
    source: PlaceIn | None = None
    upload: str = Field(default="", max_length=64)
    """Id of an upload whose files are all there."""
    labels_key: str = Field(default="", max_length=1024)
    """A CSV file with known labels, relative to the prefix or the upload."""
    classes: list[str] = Field(default_factory=list, max_length=CLASSES_MAX)
    rules: RulesIn = Field(default_factory=RulesIn)
    pool: Name = "default"


class ImportOut(Out):
    """An import that was asked for."""

    command_id: str
    dataset: str
    run: RunOut | None
    """Null until a worker took it up."""


class ImportsOut(Out):
    """Imports, the last one first."""

    imports: list[RunOut]


class UploadOut(Out):
    """Files on their way."""

    id: str
    files: int
    size_bytes: int
    files_max: int
    file_size_max_bytes: int
    size_max_bytes: int
    expires_at: str


class FileOut(Out):
    """A file that arrived."""

    path: str
    size_bytes: int


class ConnectionsOut(Out):
    """Customers' object storage that imports may come from, by name."""

    connections: list[str]
    can_upload: bool
