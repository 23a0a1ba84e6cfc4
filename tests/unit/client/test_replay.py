"""What another version says of what production asked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from loopline.client import models
from loopline.client.models import ModelVerbs
from loopline.client.replay import Replayed, agrees
from loopline.contracts import ArtefactRef, RequestsSampled, SampledImage, Shape
from loopline.contracts.catalog import Stream
from loopline.contracts.inference.v1.predict_pb2 import ImagePrediction, PredictResponse
from loopline.errors import NotFound
from loopline.store.blobs import MemoryBlobs
from loopline.store.commits import CommitLog
from loopline.store.logstore import Record
from loopline.store.objects import Area, ObjectStore
from loopline.testing.memory import MemoryBus
from loopline.testing.onnx_models import colour_classifier, commit_model


def shape(name: str, confidence: float) -> Shape:
    return Shape(class_name=name, confidence=confidence)


@pytest.mark.parametrize(
    ("said", "agreed"),
    [
        pytest.param(ImagePrediction(class_name="coat"), True, id="the same class"),
        pytest.param(ImagePrediction(class_name="shirt"), False, id="another class"),
    ],
)
def test_classifiers_agree_by_class(said: ImagePrediction, agreed: bool) -> None:
    recorded = SampledImage(scores=[0.6, 0.4], shapes=[shape("coat", 0.6)])
    assert agrees(recorded, said) is agreed


def test_detectors_agree_by_what_they_found_for_sure() -> None:
    recorded = SampledImage(shapes=[shape("tree", 0.9), shape("tree", 0.1)])
    assert agrees(recorded, ImagePrediction(shapes=[shape("tree", 0.5)]))
    assert not agrees(recorded, ImagePrediction(shapes=[shape("tree", 0.5), shape("tree", 0.4)]))


def test_nothing_replayed_agrees_on_nothing() -> None:
    assert Replayed("catalogue@v2").agreement == 0


class Events:
    """EVENTS with some records."""

    records: tuple[Record, ...] = ()

    def __init__(self, *_: object) -> None: ...

    async def read(self, _: object) -> Any:
        for record in self.records:
            yield record


async def test_recorded_images_are_asked_again_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bus = MemoryBus()
    log = CommitLog(bus.streams[str(Stream.COMMITS)], "default", source="test")
    objects = ObjectStore(MemoryBlobs(), "default")
    model = await commit_model(log, objects, colour_classifier())
    assets = await objects.put_many(Area.ASSETS, [bytes([n]) for n in range(20)])
    images = [
        SampledImage(asset=asset, scores=[1, 0], shapes=[shape("red" if n % 2 else "blue", 1)])
        for n, asset in enumerate(assets)
    ]
    champion = ArtefactRef(name="colours", version=2, digest="c" * 64)
    own = [SampledImage(asset=asset, scores=[1, 0], shapes=[shape("red", 1)]) for asset in assets]
    events = (
        RequestsSampled(model=champion, images=[*images, images[0]]),
        RequestsSampled(model=model.ref, images=own),  # as a canary: it agrees with itself
    )
    records = tuple(Record("s", n, event.SerializeToString()) for n, event in enumerate(events, 1))
    monkeypatch.setattr(Events, "records", records)
    monkeypatch.setattr(models, "JetStreamLog", Events)
    settings = SimpleNamespace(workspace="default")
    verbs = ModelVerbs(SimpleNamespace(log=log, objects=objects, settings=settings, nats=None))  # type: ignore[arg-type]
    asked: list[str] = []

    async def predict(name: str, files: list[bytes], *, recorded: bool) -> PredictResponse:
        assert not recorded
        asked.append(name)
        answers = [
            ImagePrediction(class_name="red", error="bad" if f == b"\5" else "") for f in files
        ]
        return PredictResponse(predictions=answers)

    monkeypatch.setattr(verbs, "predict", predict)
    found = await verbs.replay("colours@v1")
    assert set(asked) == {"colours@v1"}
    assert (found.images, found.agreed, found.failed) == (19, 9, 1)
    assert model.ref.version == 1
    monkeypatch.setattr(Events, "records", ())
    with pytest.raises(NotFound, match="no requests to 'colours' are recorded"):
        await verbs.replay("colours@v1")
    objects.close()
