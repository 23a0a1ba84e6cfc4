"""The demo's customer: a bucket of product photos, some labeled, and some bad files among them.

Writes the sample of Fashion-MNIST in `examples/data/fashion` (or a user's own folder per class)
into a bucket as a customer would have it, and returns the truth: the labels that were held back,
and which files are bad and why.
"""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from loopline.demo.planting import Planted, Source, plant
from loopline.errors import Rejected

SAMPLE: Final = "fashion/catalogue.zip"
LABELS_KEY: Final = "labels.csv"
PREFIX: Final = "catalogue/"
ODD_NAME_EVERY: Final = 100  # every so many images have a name with spaces and accents
ODD_NAMES: Final = (
    "Été 2024 – {}",
    "каталог {}",
    "製品 写真 {}",
    "new  arrivals, size M & L {}",
    "Größe 42 (Rückseite) {}",
)
IMAGE_SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
# How a user's own images of one class are divided; the sample says it of each image.
FOLDER_SHARES: Final = (("test", 0.24), ("labeled", 0.24), ("unlabeled", 0.47), ("spare", 0.05))
UPLOADS_IN_FLIGHT: Final = 16
ARRIVALS: Final = 300
SAMPLE_SIZE: Final = 6000  # images for which the full count of bad files is planted


class Bucket(Protocol):
    """Where to write: any `BlobStore`."""

    def put(self, key: str, data: bytes, media_type: str = ...) -> None:
        """Write `data` under `key`."""
        ...


@dataclass(frozen=True, slots=True)
class Picture:
    """A real image of the catalogue: its file name, class, part of the sample and bytes."""

    file: str
    class_name: str
    part: str
    data: bytes


@dataclass(frozen=True, slots=True)
class CatalogueTruth:
    """What is in the bucket, and what an import should make of it. Keys are whole object keys.

    Args:
        prefix: Below which the images lie; `labels_key` lies beside it.
        labels_key: The CSV file with the known labels.
        classes: The class names, sorted.
        labeled: Class by key, of the images whose labels are in the CSV file, for training.
        test: Class by key, of the frozen test split, also in the CSV file.
        unlabeled: Class by key, of the images whose labels only the labelers know.
        planted: Reason for the drop by key, of the bad files.
        classes_by_asset: Class by sha256 of the bytes, of every good image and altered copy.
        shapes_by_asset: Where labels are shapes: what a labeler's client sends of each image.
    """

    prefix: str
    labels_key: str
    classes: tuple[str, ...]
    labeled: dict[str, str]
    test: dict[str, str]
    unlabeled: dict[str, str]
    planted: dict[str, str]
    classes_by_asset: dict[str, str]
    shapes_by_asset: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def answer(self, asset: str) -> list[dict[str, Any]]:
        """Return what labelers say of an image."""
        if asset in self.classes_by_asset:
            return [{"class_name": self.classes_by_asset[asset]}]
        return self.shapes_by_asset[asset]

    @property
    def objects(self) -> int:
        """Objects below the prefix, good and bad."""
        return len(self.labeled) + len(self.test) + len(self.unlabeled) + len(self.planted)

    def planted_by_reason(self) -> dict[str, int]:
        """Count the bad files by the reason for which they must be dropped."""
        return dict(sorted(Counter(self.planted.values()).items()))


@dataclass(frozen=True, slots=True)
class _Object:
    key: str
    data: bytes
    media_type: str


def write_catalogue(
    target: Bucket,
    *,
    images: Path | None = None,
    pictures: Sequence[Picture] | None = None,
    prefix: str = PREFIX,
    progress: Callable[[int, int], None] | None = None,
) -> CatalogueTruth:
    """Write the catalogue into a bucket; writing it again writes the same bytes.

    Args:
        target: The customer's bucket.
        images: A folder per class of the user's own images; the sample of Fashion-MNIST if None.
        pictures: The pictures themselves, such as a part of the sample, instead of `images`.
        prefix: Below which the objects lie; ends with "/".
        progress: Called with the objects written and their number, now and then.

    Returns:
        The truth of what was written.

    Raises:
        Rejected: The folder holds fewer than 2 classes, or a class fewer than 4 images.
        NotFound: The sample is not where it belongs.
    """
    objects, truth = _catalogue(read_pictures(images) if pictures is None else pictures, prefix)
    _upload(target, objects, progress)
    return truth


def write_arrivals(
    target: Bucket,
    *,
    images: Path | None = None,
    prefix: str = PREFIX,
    count: int = ARRIVALS,
) -> dict[str, str]:
    """Write images that arrive later, below the same prefix; return their classes by key.

    They are `spare` images of which no bad file was made, and come without labels.
    """
    pictures = read_pictures(images)
    spare = [picture for picture in pictures if picture.part == "spare"]
    taken = _spare_taken(pictures)
    arriving = spare[taken : taken + count]
    objects = [_object(f"{prefix}arrivals/{picture.file}", picture.data) for picture in arriving]
    _upload(target, objects, None)
    return {item.key: picture.class_name for item, picture in zip(objects, arriving, strict=True)}


def read_pictures(images: Path | None = None) -> list[Picture]:
    """Return the real images: those of the sample, or of a folder per class."""
    return list(_folder_pictures(images) if images is not None else _sample_pictures())


def sample_path() -> Path:
    """Return where the sample lies: beside this module in a wheel, in `examples/` in a clone.

    Raises:
        Rejected: It is in neither place.
    """
    here = Path(__file__).resolve()
    places = (here.parent / "data" / SAMPLE, here.parents[2] / "examples" / "data" / SAMPLE)
    for place in places:
        if place.exists():
            return place
    raise Rejected(f"the demo's images are missing: neither {places[0]} nor {places[1]} is there")


def _sample_pictures() -> Iterator[Picture]:
    with zipfile.ZipFile(sample_path()) as archive:
        index = io.TextIOWrapper(archive.open("index.csv"), encoding="utf-8", newline="")
        for row in csv.DictReader(index):
            yield Picture(row["file"], row["class"], row["part"], archive.read(row["file"]))


def _folder_pictures(root: Path) -> Iterator[Picture]:
    classes = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    if len(classes) < 2:
        raise Rejected(
            f"{root} has {len(classes)} folders: a folder per class is needed, 2 or more"
        )
    for folder in classes:
        files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
        if len(files) < len(FOLDER_SHARES):
            raise Rejected(
                f"{folder} has {len(files)} images: {len(FOLDER_SHARES)} or more are needed"
            )
        # Neither the camera's order nor the folder's may decide what is tested.
        files.sort(
            key=lambda path: hashlib.sha256(path.relative_to(root).as_posix().encode()).digest()
        )
        for path, part in zip(files, _parts(len(files)), strict=True):
            name = path.relative_to(root).as_posix().replace("/", "-")
            yield Picture(_without_class(name, folder.name), folder.name, part, path.read_bytes())


def _without_class(name: str, class_name: str) -> str:
    """A name that does not tell the class, and is still unique over the classes."""
    stem, _, suffix = name.removeprefix(f"{class_name}-").rpartition(".")
    return f"{stem}-{hashlib.sha256(name.encode()).hexdigest()[:8]}.{suffix}"


def _parts(count: int) -> list[str]:
    """The part of each of `count` images; every part gets one at least."""
    counts = [max(1, round(count * share)) for _, share in FOLDER_SHARES]
    counts[2] += count - sum(counts)
    return [name for (name, _), n in zip(FOLDER_SHARES, counts, strict=True) for _ in range(n)]


def _catalogue(pictures: Sequence[Picture], prefix: str) -> tuple[list[_Object], CatalogueTruth]:
    good = [picture for picture in pictures if picture.part != "spare"]
    keys = [f"{prefix}photos/{_file_name(n, picture)}" for n, picture in enumerate(good)]
    by_part: dict[str, dict[str, str]] = {"labeled": {}, "test": {}, "unlabeled": {}}
    for key, picture in zip(keys, good, strict=True):
        by_part[picture.part][key] = picture.class_name
    planted = list(_planted(pictures))
    truth = CatalogueTruth(
        prefix=prefix,
        labels_key=LABELS_KEY,
        classes=tuple(sorted({picture.class_name for picture in pictures})),
        labeled=by_part["labeled"],
        test=by_part["test"],
        unlabeled=by_part["unlabeled"],
        planted={_planted_key(prefix, bad): bad.reason for bad in planted},
        classes_by_asset=_classes_by_asset(good, planted),
    )
    objects = [_object(key, picture.data) for key, picture in zip(keys, good, strict=True)]
    objects += [_object(_planted_key(prefix, bad), bad.data) for bad in planted]
    objects.append(_Object(LABELS_KEY, _labels_csv(truth), "text/csv"))
    return objects, truth


def _classes_by_asset(good: Sequence[Picture], planted: Sequence[Planted]) -> dict[str, str]:
    """The class of whatever an import may keep: an image, or the altered copy that it missed."""
    by_file = {picture.file: picture.class_name for picture in good}
    classes = {
        hashlib.sha256(bad.data).hexdigest(): by_file[bad.name.partition("/")[2]]
        for bad in planted
        if bad.reason == "near_duplicate"
    }
    return classes | {hashlib.sha256(p.data).hexdigest(): p.class_name for p in good}


def _file_name(number: int, picture: Picture) -> str:
    if number % ODD_NAME_EVERY:
        return picture.file
    return ODD_NAMES[number // ODD_NAME_EVERY % len(ODD_NAMES)].format(picture.file)


def _planted(pictures: Sequence[Picture]) -> Iterator[Planted]:
    # Copies are made of images without labels, so that what is dropped never carried one.
    good = [Source(p.file, p.data) for p in pictures if p.part == "unlabeled"]
    spare = [Source(p.file, p.data) for p in pictures if p.part == "spare"]
    return plant(good, spare, _share(pictures))


def _share(pictures: Sequence[Picture]) -> float:
    return min(1.0, sum(p.part != "spare" for p in pictures) / SAMPLE_SIZE)


def _spare_taken(pictures: Sequence[Picture]) -> int:
    """How many spare images bad files were made from."""
    return sum(
        bad.reason not in ("exact_duplicate", "near_duplicate") for bad in _planted(pictures)
    )


def _planted_key(prefix: str, bad: Planted) -> str:
    # "uploads" sorts after "photos": of two equal images an import keeps the one whose key comes
    # first.
    return f"{prefix}uploads/{bad.name}"


def _labels_csv(truth: CatalogueTruth) -> bytes:
    """The known labels; the test split is fixed, the rest is left to the import."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("file", "class", "split"))
    for known, split in ((truth.labeled, ""), (truth.test, "test")):
        rows.writerows((k.removeprefix(truth.prefix), name, split) for k, name in known.items())
    return text.getvalue().encode()


def _object(key: str, data: bytes) -> _Object:
    suffix = key.rpartition(".")[2].lower()
    return _Object(key, data, f"image/{'jpeg' if suffix == 'jpg' else suffix}")


def _upload(
    target: Bucket, objects: Sequence[_Object], progress: Callable[[int, int], None] | None
) -> None:
    def put(item: _Object) -> None:
        target.put(item.key, item.data, item.media_type)

    with ThreadPoolExecutor(UPLOADS_IN_FLIGHT, thread_name_prefix="upload") as threads:
        done: Iterable[None] = threads.map(put, objects)
        for count, _ in enumerate(done, 1):
            if progress is not None and (count % 100 == 0 or count == len(objects)):
                progress(count, len(objects))
