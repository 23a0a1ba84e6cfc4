"""What a segmenter is told, what it answers, and that both go together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from loopline.errors import Rejected
from loopline.vision import masks
from loopline.vision.augmentation import IGNORED
from services.trainer.domain.examples import Annotation, Example
from services.trainer.recipes.interface import Draw, Outputs, Survey
from services.trainer.recipes.objects import ClassMask
from services.trainer.recipes.segmentation import SegmentationParameters, SegmentationRecipe
from services.trainer.recipes.segmenter import mask_loss
from services.trainer.training import export
from services.trainer.training.batches import Split
from services.trainer.training.pixels import Pixels, Room
from tests.unit.trainer.nuclei import NUCLEUS, pixels, placed

CLASSES = ("cell", "debris")


def recipe(classes: tuple[str, ...] = CLASSES, **parameters: Any) -> SegmentationRecipe:
    given = {"image_size": 64, "backbone": "lcnet_050"} | parameters
    survey = Survey(128, 128, grey=True, class_counts=(30, 10)[: len(classes)])
    return SegmentationRecipe(SegmentationParameters.model_validate(given), classes, survey)


def example(*annotations: Annotation, height: int = 128, width: int = 128) -> Example:
    return Example("a" * 64, "train", annotations, width, height)


def rectangle(x: int, y: int, width: int, height: int) -> str:
    mask = np.zeros((128, 128), bool)
    mask[y : y + height, x : x + width] = True
    return masks.encode(mask)


def test_masks_and_polygons_become_the_class_of_each_pixel() -> None:
    cell = Annotation("cell", polygon=(8, 8, 40, 8, 40, 40, 8, 40))
    debris = Annotation("debris", mask_rle=rectangle(20, 20, 100, 10))
    target = recipe().target(example(cell, debris))
    assert target is not None
    drawn = target.pixels()
    assert drawn.shape == (64, 64)
    assert drawn[6, 6] == 1
    assert drawn[12, 30] == 2  # what comes later lies above
    assert drawn[60, 60] == 0
    assert (drawn == target.pixels()).all()


def test_nothing_is_known_beside_an_image_in_its_letterbox() -> None:
    target = recipe().target(example(height=64, width=128))
    assert target is not None
    drawn = target.pixels()
    assert (drawn[:16] == IGNORED).all()
    assert (drawn[16:48] == 0).all()


def test_boxes_alone_say_nothing_of_pixels() -> None:
    assert recipe().target(example(Annotation("cell", bbox_xyxy=(1, 1, 9, 9)))) is None
    assert recipe().target(example(Annotation("cell"))) is None
    assert recipe().target(example()) is not None


def test_a_damaged_mask_names_its_image() -> None:
    target = recipe().target(example(Annotation("cell", mask_rle="52203")))
    assert target is not None
    with pytest.raises(Rejected, match="image aaaaaaaaaaaa: its mask is damaged"):
        target.pixels()


@pytest.mark.parametrize("kind", ["ce", "dice", "focal", "ce+dice", "focal+dice"])
def test_every_loss_falls_with_errors_and_leaves_out_what_is_not_known(kind: str) -> None:
    targets = torch.randint(0, 3, (2, 8, 8), generator=torch.Generator().manual_seed(0))
    right = torch.nn.functional.one_hot(targets, 3).movedim(-1, 1).float() * 8
    assert float(mask_loss(kind, right, targets)) < 0.1
    wrong = right.roll(1, dims=1)
    assert float(mask_loss(kind, wrong, targets)) > 0.4
    assert float(mask_loss(kind, wrong, targets, [1.0, 2.0, 1.0])) > 0.4
    half = targets.clone()
    half[:, :4] = IGNORED
    mixed = right.clone()
    mixed[:, :, :4] = wrong[:, :, :4]
    assert float(mask_loss(kind, mixed, half)) == pytest.approx(
        float(mask_loss(kind, right, half)), abs=0.02
    )


def test_rare_classes_weigh_more_and_background_least() -> None:
    assert recipe(balance="loss")._pixel_weights() == [0.5, 0.5, 1.5]
    assert recipe()._pixel_weights() is None


def steps(model: torch.nn.Module, given: SegmentationRecipe, count: int) -> list[float]:
    some = placed(split="train")[:4]
    images = [image[::2, ::2] for image in pixels(some)]
    targets: list[ClassMask] = [t for one in some if (t := given.target(one.example)) is not None]
    optimizer = given.build_optimizer(model)
    losses = []
    for step in range(count):
        batch = given.transform(images, targets, Draw(step, np.arange(4)))
        loss = given.step(model, torch.from_numpy(batch.images), torch.from_numpy(batch.targets))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def test_it_learns_from_real_nuclei_always_the_same_and_is_exported() -> None:
    given = recipe(NUCLEUS)
    runs = []
    for _ in range(2):
        torch.manual_seed(0)
        model = given.build_model()
        losses = steps(model, given, 12)
        runs.append((losses, export.weights_digest(model)))
    losses, _ = runs[0]
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])
    assert runs[0] == runs[1]

    some = placed()
    split = Split(
        Pixels([one.path for one in some], given.input_format, Room(10**8)),
        tuple(given.target(one.example) for one in some),
        tuple(one.example.asset for one in some),
    )
    exported = given.export(model)
    data = export.onnx_file(exported, given.input_format)
    parity = export.parity(given, exported, data, split)
    assert parity.difference <= 1e-4
    assert parity.metrics <= 1e-3
    session = export.inference_session(data)
    assert [one.name for one in session.get_outputs()] == ["mask", "confidence"]
    mask, confidence = session.run(None, {"image": np.zeros((5, 64, 64, 1), np.uint8)})
    assert (mask.shape, mask.dtype) == ((5, 64, 64), np.uint8)
    assert (confidence.shape, confidence.dtype) == ((5, 64, 64), np.float32)
    assert 0.5 <= confidence.min() <= confidence.max() <= 1


def test_masks_that_are_the_truth_are_judged_perfect() -> None:
    given = recipe(NUCLEUS)
    targets = [t for one in placed() if (t := given.target(one.example)) is not None]
    truth = np.stack([target.pixels() for target in targets])
    outputs: Outputs = {"mask": truth, "confidence": np.ones(truth.shape, np.float32)}
    assert given.judge([outputs], targets, []).metrics["mean_iou"] == 1
    parts = [{name: value[n : n + 1] for name, value in outputs.items()} for n in range(len(truth))]
    assert given.judge(parts, targets, []).metrics["mean_iou"] == 1
    outputs["mask"] = 1 - truth
    assert given.judge([outputs], targets, []).metrics["mean_iou"] < 0.1


def test_a_decoder_that_does_not_go_with_a_backbone_is_refused() -> None:
    with pytest.raises(Rejected, match="lcnet_049"):
        recipe(backbone="lcnet_049").build_model()
