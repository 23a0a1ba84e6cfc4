"""What a detector is told, what it answers, and that both go together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import batched_nms

from loopline.errors import Rejected
from loopline.vision import masks
from services.trainer.domain.examples import Annotation, Example
from services.trainer.recipes.box_targets import STRIDE, centre_targets
from services.trainer.recipes.centre import centre_loss, giou, peaks
from services.trainer.recipes.detection import DetectionParameters, DetectionRecipe
from services.trainer.recipes.fcos import OVERLAP_MAX, unsuppressed
from services.trainer.recipes.interface import Draw, Outputs, Survey
from services.trainer.training import export
from services.trainer.training.batches import Split
from services.trainer.training.pixels import Pixels, Room
from tests.unit.trainer.nuclei import NUCLEUS, pixels, placed

SQUARE = (10.0, 20.0, 40.0, 60.0)
CLASSES = ("cell", "debris")


def recipe(
    side: int = 128, classes: tuple[str, ...] = CLASSES, **parameters: Any
) -> DetectionRecipe:
    wanted = {"width": 32, "image_size": side} | parameters
    return DetectionRecipe(
        DetectionParameters.model_validate(wanted), classes, Survey(side, side, grey=True)
    )


def example(*annotations: Annotation) -> Example:
    return Example("a" * 64, "train", annotations, 128, 128)


def drawn(box: tuple[float, float, float, float]) -> str:
    mask = np.zeros((128, 128), bool)
    mask[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])] = True
    return masks.encode(mask)


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(Annotation("debris", bbox_xyxy=SQUARE), id="a box"),
        pytest.param(
            Annotation("debris", polygon=(10, 20, 40, 20, 40, 60, 10, 60)), id="a polygon"
        ),
        pytest.param(Annotation("debris", mask_rle=drawn(SQUARE)), id="a mask"),
    ],
)
def test_a_shape_is_learned_by_its_box_in_the_networks_input(shape: Annotation) -> None:
    found = recipe(side=64).target(example(shape))
    assert found is not None
    assert found.labels == (1,)
    assert found.boxes.tolist() == [[5, 10, 20, 30]]


def test_an_image_of_nothing_is_learned_from_and_one_of_a_class_is_not() -> None:
    nothing = recipe().target(example())
    assert nothing is not None
    assert nothing.boxes.shape == (0, 4)
    assert recipe().target(example(Annotation("cell"))) is None


def test_a_damaged_mask_names_its_image() -> None:
    with pytest.raises(Rejected, match="image aaaaaaaaaaaa: its mask is damaged"):
        recipe().target(example(Annotation("cell", mask_rle="5")))


def test_the_centre_is_hottest_and_knows_the_box() -> None:
    boxes = np.array([[8.0, 16.0, 72.0, 48.0]])
    heat, edges, weights = centre_targets(boxes, (1,), 2, (128, 128))
    row, column = np.unravel_index(heat[1].argmax(), heat[1].shape)
    assert (row, column) == (32 // STRIDE, 40 // STRIDE)
    assert heat[1].max() == 1
    assert heat[0].max() == 0
    assert edges[:, row, column].tolist() == boxes[0].tolist()
    assert weights.sum() == pytest.approx(np.log1p(64 * 32), rel=1e-5)


def test_of_two_objects_on_a_cell_the_smaller_one_counts() -> None:
    boxes = np.array([[40.0, 40.0, 60.0, 60.0], [0.0, 0.0, 100.0, 100.0]])
    _, edges, _ = centre_targets(boxes, (0, 0), 1, (128, 128))
    assert edges[:, 50 // STRIDE, 50 // STRIDE].tolist() == boxes[0].tolist()


def test_an_object_of_no_size_and_one_at_the_edge_do_no_harm() -> None:
    boxes = np.array([[5.0, 5.0, 5.4, 90.0], [100.0, 100.0, 128.0, 128.0]])
    heat, _, weights = centre_targets(boxes, (0, 0), 1, (128, 128))
    assert (heat == 1).sum() == 1
    assert np.isfinite(weights).all()


class Says(torch.nn.Module):
    """A detector that says the same of every image."""

    def __init__(self, heat: np.ndarray, boxes: np.ndarray) -> None:
        super().__init__()
        self.heat = torch.from_numpy(heat)[None]
        self.boxes = torch.from_numpy(boxes)[None]

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        count = len(image)
        return self.heat.expand(count, -1, -1, -1), self.boxes.expand(count, -1, -1, -1)


def test_a_detector_that_says_its_targets_is_right_and_loses_little() -> None:
    boxes = np.array([[8.0, 16.0, 72.0, 48.0], [80.0, 80.0, 100.0, 110.0]])
    heat, edges, weights = centre_targets(boxes, (1, 0), 2, (128, 128))
    logits = np.where(heat == 1, 9.0, -9.0).astype(np.float32)
    detector = Says(logits, edges)
    hot, around = detector(torch.zeros(3, 128, 128, 1))
    found, scores, labels = peaks(hot, around, 10)
    assert found.shape == (3, 10, 4)
    assert found[2, :2].tolist() == boxes.tolist() or found[2, [1, 0]].tolist() == boxes.tolist()
    assert set(labels[0, :2].tolist()) == {0, 1}
    assert labels.dtype == torch.int64
    assert scores[0, 1] > 0.99
    assert scores[0, 2] < 0.01
    targets = {
        name: torch.from_numpy(value)[None]
        for name, value in (("heat", heat), ("boxes", edges), ("weights", weights))
    }
    assert float(centre_loss(detector(torch.zeros(1)), targets)) < 0.01
    wrong = Says(logits, edges + np.float32(30))
    assert float(centre_loss(wrong(torch.zeros(1)), targets)) > 1


def test_generalised_iou_tells_near_misses_from_far_ones() -> None:
    one = torch.tensor([[0.0, 0, 2, 2]]).expand(3, 4)
    others = torch.tensor([[0.0, 0, 2, 2], [1, 0, 3, 2], [8, 8, 10, 10]])
    assert giou(one, others).tolist() == pytest.approx([1, 1 / 3, -0.92], abs=1e-5)


def steps(model: torch.nn.Module, trained: DetectionRecipe, count: int) -> list[float]:
    """Take some steps on real nuclei; return the losses."""
    some = placed(split="train")[:4]
    images = pixels(some)
    targets = [trained.target(one.example) for one in some]
    optimizer = trained.build_optimizer(model)
    losses = []
    for step in range(count):
        draw = Draw(step, np.arange(4), lambda place: (images[place], targets[place]), 4)
        batch = trained.transform(images, targets, draw)  # type: ignore[arg-type]
        tensors = {name: torch.from_numpy(value) for name, value in batch.targets.items()}
        loss = trained.step(model, torch.from_numpy(batch.images), tensors)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param({}, id="alone"),
        pytest.param({"augmentation": {"mosaic": 1.0}}, id="in a mosaic"),
        pytest.param({"architecture": "fcos"}, id="by FCOS"),
    ],
)
def test_it_learns_from_real_nuclei_and_always_the_same(parameters: dict[str, Any]) -> None:
    trained = recipe(classes=NUCLEUS, **parameters)
    runs = []
    for _ in range(2):
        torch.manual_seed(0)
        model = trained.build_model()
        losses = steps(model, trained, 12)
        runs.append((losses, export.weights_digest(model)))
    losses, _ = runs[0]
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])
    assert runs[0] == runs[1]


def whole_split(trained: DetectionRecipe) -> Split:
    some = placed()
    return Split(
        Pixels([one.path for one in some], trained.input_format, Room(10**8)),
        tuple(trained.target(one.example) for one in some),
        tuple(one.example.asset for one in some),
    )


@pytest.mark.parametrize("architecture", ["centre", "fcos"])
def test_the_exported_graph_says_the_same_and_more_images_at_once(architecture: str) -> None:
    trained = recipe(classes=NUCLEUS, boxes_max=50, architecture=architecture)
    torch.manual_seed(0)
    model = trained.build_model()
    steps(model, trained, 6)
    exported = trained.export(model)
    data = export.onnx_file(exported, trained.input_format)
    parity = export.parity(trained, exported, data, whole_split(trained))
    assert parity.difference <= 1e-4
    assert parity.metrics <= 1e-3
    session = export.inference_session(data)
    assert [one.name for one in session.get_outputs()] == ["boxes", "scores", "labels"]
    boxes, scores, labels = session.run(None, {"image": np.zeros((5, 128, 128, 1), np.uint8)})
    assert (boxes.shape, scores.shape, labels.shape) == ((5, 50, 4), (5, 50), (5, 50))
    assert (boxes.dtype, scores.dtype, labels.dtype) == (np.float32, np.float32, np.int64)
    assert (np.diff(scores, axis=1) <= 0).all()


@given(st.integers(0, 10_000))
def test_suppression_by_matrices_is_that_of_torchvision(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(40, 2, generator=generator) * 60
    boxes = torch.cat([low, low + 5 + torch.rand(40, 2, generator=generator) * 30], 1)
    labels = torch.randint(0, 2, (40,), generator=generator)
    stays = unsuppressed(boxes[None], labels[None])[0]
    falling = torch.arange(40, 0, -1).float()
    kept = batched_nms(boxes, falling, labels, OVERLAP_MAX)
    assert stays.nonzero()[:, 0].tolist() == sorted(kept.tolist())


@pytest.mark.parametrize(
    "parameters",
    [pytest.param({"balance": "loss"}, id="balance"), pytest.param({"width": 48}, id="width")],
)
def test_what_fcos_cannot_be_told_is_named(parameters: dict[str, Any]) -> None:
    with pytest.raises(Rejected, match=f"parameter '{next(iter(parameters))}'"):
        recipe(architecture="fcos", **parameters)


def test_outputs_that_are_the_truth_are_judged_perfect() -> None:
    trained = recipe(classes=NUCLEUS)
    targets = [trained.target(one.example) for one in placed()]
    most = max(len(target.labels) for target in targets if target is not None)
    boxes = np.zeros((len(targets), most, 4), np.float32)
    scores = np.zeros((len(targets), most), np.float32)
    for row, target in enumerate(targets):
        assert target is not None
        boxes[row, : len(target.labels)] = target.boxes
        scores[row, : len(target.labels)] = 0.9
    outputs: Outputs = {
        "boxes": boxes,
        "scores": scores,
        "labels": np.zeros(scores.shape, np.int64),
    }
    truth = [target for target in targets if target is not None]
    assert trained.judge([outputs], truth, []).metrics["map50"] == pytest.approx(1)
    outputs["boxes"] = boxes + 40
    assert trained.judge([outputs], truth, []).metrics["map50"] < 0.2


def test_boxes_in_another_order_are_no_difference_and_moved_ones_are() -> None:
    boxes = np.array([[[0, 0, 20, 20], [50, 50, 90, 90]]], np.float32)
    ours = {"boxes": boxes, "scores": np.array([[0.5, 0.5]]), "labels": np.array([[0, 1]])}
    swapped = {name: value[:, ::-1] for name, value in ours.items()}
    assert recipe().difference(ours, swapped) == 0
    moved = ours | {"boxes": boxes + np.float32(1.28)}
    assert recipe().difference(ours, moved) == pytest.approx(0.01)
    less_sure = ours | {"scores": np.array([[0.5, 0.2]])}
    assert recipe().difference(ours, less_sure) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        pytest.param(
            lambda: recipe(backbone="lcnet_051").build_model(), "lcnet_050", id="no such backbone"
        ),
        pytest.param(
            lambda: recipe(backbone="vit_tiny_patch16_224").build_model(),
            "vit_tiny_patch16_224",
            id="a backbone without features",
        ),
    ],
)
def test_a_backbone_that_cannot_be_used_is_named(
    build: Callable[[], torch.nn.Module], words: str
) -> None:
    with pytest.raises(Rejected, match=words):
        build()


def test_boxes_of_which_a_network_is_not_sure_are_no_part_of_what_two_networks_share() -> None:
    trained = recipe()
    outputs: Outputs = {
        "boxes": np.zeros((1, 3, 4), np.float32),
        "scores": np.array([[0.9, 0.05, 0.0216]], np.float32),
        "labels": np.zeros((1, 3), np.int64),
    }
    shared = trained.surely(outputs)
    assert shared["scores"].tolist() == [pytest.approx([0.9, 0.05, 0.0])]
    assert shared["boxes"] is outputs["boxes"]
