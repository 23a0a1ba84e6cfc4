"""What a model version is: the manifest whose digest is the version's digest."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from loopline.digests import digest_of


@dataclass(frozen=True, slots=True)
class InputFormat:
    """What a client does to an image before the network sees it; normalisation is in the graph.

    Args:
        height_px: Height of the network's input.
        width_px: Width of the network's input.
        channels: 1 (grey) or 3 (RGB).
        interpolation: One of `loopline.vision.images.INTERPOLATIONS`.
        fit: One of `loopline.vision.geometry.FITS`.
    """

    height_px: int
    width_px: int
    channels: int
    interpolation: str = "area"
    fit: str = "stretch"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a model version."""

    name: str
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that a model version is; equal training gives an equal manifest."""

    task: str
    recipe: str
    classes: tuple[str, ...]
    input_format: InputFormat
    files: tuple[StoredFile, ...]

    @property
    def digest(self) -> str:
        """sha256 of the canonical JSON, the files in order of name."""
        document = asdict(self)
        document["files"] = [
            asdict(file) for file in sorted(self.files, key=lambda file: file.name)
        ]
        return digest_of(document)
