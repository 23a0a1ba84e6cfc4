"""Writing into customers' buckets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from loopline.errors import NotFound, Rejected, Transient
from loopline.flows import Deliver
from loopline.store.blobs import BlobStore, MemoryBlobs
from services.router.adapters.destination import Destinations
from services.router.domain.chunks import Document

TO = Deliver(connection="customer", bucket="results", prefix="out/")


class RefusingBlobs(MemoryBlobs):
    """A bucket that refuses one key."""

    def put(self, key: str, data: bytes, media_type: str = "") -> None:
        if key == "out/refused":
            raise Rejected("the bucket 'results' refuses our key (AccessDenied)")
        super().put(key, data, media_type)


@pytest.fixture
def blobs() -> MemoryBlobs:
    return RefusingBlobs()


@pytest.fixture
def destinations(blobs: MemoryBlobs) -> Iterator[Destinations]:
    def open_bucket(connection: str, bucket: str) -> BlobStore:
        if connection != "customer":
            raise Rejected(f"there is no connection {connection!r}")
        if bucket != "results":
            raise NotFound(f"there is no bucket {bucket!r}")
        return blobs

    found = Destinations(open_bucket, writes=2)
    yield found
    found.close()


async def test_objects_are_written_and_replaced(
    destinations: Destinations, blobs: MemoryBlobs
) -> None:
    await destinations.write(TO, [Document("out/a", b"1"), Document("out/b", b"2")])
    await destinations.write(TO, [Document("out/a", b"3")])
    assert {info.key: blobs.get(info.key) for info in blobs.list("")} == {
        "out/a": b"3",
        "out/b": b"2",
    }


@pytest.mark.parametrize(
    ("to", "key", "reason"),
    [
        pytest.param(TO, "out/refused", "refuses our key", id="refused"),
        pytest.param(Deliver(connection="customer", bucket="other"), "k", "no bucket", id="bucket"),
        pytest.param(
            Deliver(connection="nobody", bucket="bbb"), "k", "no connection", id="connection"
        ),
    ],
)
async def test_what_people_can_set_right_is_tried_again(
    destinations: Destinations, to: Deliver, key: str, reason: str
) -> None:
    with pytest.raises(Transient) as caught:
        await destinations.write(to, [Document(key, b"")])
    assert caught.value.message.startswith(
        f"cannot deliver to {to.bucket!r} through the connection"
    )
    assert reason in caught.value.message


async def test_good_objects_beside_a_refused_one_are_written(
    destinations: Destinations, blobs: MemoryBlobs
) -> None:
    with pytest.raises(Transient):
        await destinations.write(TO, [Document("out/refused", b""), Document("out/a", b"1")])
    assert blobs.get("out/a") == b"1"
