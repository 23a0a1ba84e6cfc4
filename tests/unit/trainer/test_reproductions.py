"""Model versions that are trained again from the log alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from loopline.contracts import (
    ArtefactRef,
    ReproduceModel,
    ReproductionCommitted,
    RunKind,
    TrainModel,
    catalog,
)
from loopline.errors import NotFound
from loopline.store import runs
from loopline.store.blobs import MemoryBlobs
from loopline.store.commits import Committed
from loopline.store.datasets import Datasets
from loopline.store.objects import Area
from loopline.testing.memory import ManualClock, MemoryBus, delivery, memory_service
from loopline.testing.products import Product
from services.trainer.service import Trainer
from services.trainer.settings import TrainerSettings
from tests.unit.trainer.workshop import CLASSES

pytestmark = [pytest.mark.usefixtures("with_house_recipes"), pytest.mark.slow]


@pytest.fixture
async def trainer(tmp_path: Any, small_catalogue: list[Product]) -> Trainer:
    """A trainer with one model version, of a dataset with three more versions."""
    bus, blobs = MemoryBus(), MemoryBlobs()
    settings = TrainerSettings(data_dir=tmp_path, training_niceness=0)
    service = memory_service(Trainer, settings, bus, blobs, clock=ManualClock())
    await service.start()
    await commit(service, small_catalogue)
    asked = TrainModel(model="products", recipe="tiny", dataset=ArtefactRef(name="shop"))
    asked.parameters.update({"epochs": 1, "batch_size": 16})
    await service.on_train_model(asked, delivery())
    return service


async def commit(service: Trainer, catalogue: list[Product]) -> None:
    """Commit a version of the dataset that has these products and no others."""
    await service.objects.put_many(Area.ASSETS, [product.data for product in catalogue])
    datasets = Datasets(service.log, service.objects)
    items = [product.item() for product in catalogue]
    run = runs.new_run(RunKind.RUN_KIND_IMPORT, parameters={"of": [repr(item) for item in items]})
    head = await service.log.head(catalog.DATASET_COMMITTED, name="shop")
    old = {}
    if head is not None:
        old = {row.asset: row async for row in (await datasets.tree(head)).rows()}
    gone = old.keys() - {item.asset for item in items}
    await datasets.commit_changes("shop", items, gone, run=run, summary="changed", classes=CLASSES)


async def reproduced(
    service: Trainer, number: int, **asked: Any
) -> Committed[ReproductionCommitted]:
    """Ask for it, and return what was committed."""
    changes = asked.pop("changes", {})
    command = ReproduceModel(model=ArtefactRef(name="products", version=1), **asked)
    command.changes.update(changes)
    await service.on_reproduce_model(command, delivery(number))
    found = await service.log.head(catalog.REPRODUCTION_COMMITTED, model="products")
    assert found is not None
    return found


async def test_the_same_from_the_log_alone_is_the_same_to_the_last_bit(trainer: Trainer) -> None:
    proof = await reproduced(trainer, 2)
    model = await trainer.log.head(catalog.MODEL_COMMITTED, name="products")
    assert model is not None
    assert proof.message.is_identical
    assert not proof.message.causes
    assert proof.ref.digest == model.ref.digest
    assert proof.commit.summary == "products@v1 reproduced: identical to the last bit"
    assert [ref.role for ref in proof.commit.run.inputs] == ["reproduced", "train_on"]
    # A redelivery proves nothing twice; another command does.
    assert (await reproduced(trainer, 2)).ref.version == 1
    assert (await reproduced(trainer, 3)).ref.version == 2


async def test_another_seed_or_parameter_shows(trainer: Trainer) -> None:
    for number, (changes, what) in enumerate(
        [({"seed": 1}, "parameter seed"), ({"learning_rate": 0.004}, "parameter learning_rate")]
    ):
        proof = await reproduced(trainer, number + 2, changes=changes)
        assert not proof.message.is_identical
        assert what in [cause.what for cause in proof.message.causes]
        assert "file weights.safetensors" in [effect.what for effect in proof.message.effects]


async def test_a_changed_pixel_or_label_shows(
    trainer: Trainer, small_catalogue: list[Product]
) -> None:
    trained = next(i for i, product in enumerate(small_catalogue) if product.split == "train")
    one = small_catalogue[trained]
    other = next(name for name in CLASSES if name != one.class_name)
    for number, product in enumerate(
        [replace(one, data=with_another_pixel(one.data)), replace(one, class_name=other)]
    ):
        catalogue = [*small_catalogue]
        catalogue[trained] = product
        await commit(trainer, catalogue)
        version = ArtefactRef(name="shop", version=number + 2)
        proof = await reproduced(trainer, number + 2, dataset=version)
        assert "dataset" in [cause.what for cause in proof.message.causes]
        assert "file weights.safetensors" in [effect.what for effect in proof.message.effects]


def with_another_pixel(data: bytes) -> bytes:
    """Return the image with the pixel in its middle changed."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None
    image[14, 14] ^= 128
    return cv2.imencode(".png", image)[1].tobytes()


async def test_a_version_that_is_not_there_is_named(trainer: Trainer) -> None:
    with pytest.raises(NotFound, match="no model products@v7"):
        await trainer.on_reproduce_model(
            ReproduceModel(model=ArtefactRef(name="products", version=7)), delivery()
        )
