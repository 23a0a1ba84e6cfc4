"""Small real ONNX models whose right answers are known, and their commits: for tests and benches.

They follow the contract of trained classifiers: input `image` uint8 `(N, H, W, C)`, output
`probabilities` float32 `(N, classes)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from loopline.contracts import (
    AliasMoved,
    ArtefactKind,
    ArtefactRef,
    Commit,
    ModelCommitted,
    ModelFile,
    Preprocessing,
    Rollout,
    Run,
    RunKind,
    catalog,
)
from loopline.digests import digest_of, sha256_hex
from loopline.store import runs
from loopline.store.commits import CommitLog, Committed
from loopline.store.objects import Area, ObjectStore

COLOURS = ("red", "green", "blue")
OPSET = 20
IR_VERSION = 10


def colour_classifier(side_px: int = 8, sharpness: float = 0.1) -> bytes:
    """Return a model that tells which of red, green and blue an RGB image has most of.

    Args:
        side_px: Height and width of its input.
        sharpness: How sure it is: logits are mean intensities times this.
    """
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["means"], keepdims=0),
        helper.make_node("Mul", ["means", "sharpness"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    constants = [
        numpy_helper.from_array(np.array([1, 2], np.int64), "axes"),
        numpy_helper.from_array(np.array(sharpness, np.float32), "sharpness"),
    ]
    return _model(nodes, constants, (side_px, side_px, 3), len(COLOURS))


def dense_classifier(
    shape: tuple[int, int, int], classes: int, hidden: int = 64, seed: int = 0
) -> bytes:
    """Return an untrained two-layer network: its answers mean nothing, its arithmetic is real.

    Args:
        shape: (height, width, channels) of its input.
        classes: How many it tells apart.
        hidden: Width of the layer between.
        seed: Of its weights.
    """
    random = np.random.default_rng(seed)
    inputs = shape[0] * shape[1] * shape[2]
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "scale"], ["scaled"]),
        helper.make_node("Flatten", ["scaled"], ["flat"], axis=1),
        helper.make_node("Gemm", ["flat", "w1"], ["first"]),
        helper.make_node("Relu", ["first"], ["active"]),
        helper.make_node("Gemm", ["active", "w2"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    weights = {
        "scale": np.array(1 / 255),
        "w1": random.normal(size=(inputs, hidden)) / np.sqrt(inputs) * 4,
        "w2": random.normal(size=(hidden, classes)) / np.sqrt(hidden) * 4,
    }
    constants = [numpy_helper.from_array(w.astype(np.float32), n) for n, w in weights.items()]
    return _model(nodes, constants, shape, classes)


def convolutional_classifier(side_px: int = 224, classes: int = 10, seed: int = 0) -> bytes:
    """Return an untrained convolutional network for RGB images, of some 50 million multiplications.

    Args:
        side_px: Height and width of its input.
        classes: How many it tells apart.
        seed: Of its weights.
    """
    random = np.random.default_rng(seed)
    channels = (3, 16, 32, 64, 128)
    weights = {
        f"w{i}": random.normal(size=(after, before, 3, 3)) / np.sqrt(9 * before)
        for i, (before, after) in enumerate(pairwise(channels))
    }
    weights |= {"scale": np.array(1 / 255), "dense": random.normal(size=(channels[-1], classes))}
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "scale"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["x0"], perm=[0, 3, 1, 2]),
    ]
    for i in range(len(channels) - 1):
        padded = {"strides": [2, 2], "pads": [1, 1, 1, 1]}
        nodes.append(helper.make_node("Conv", [f"x{i}", f"w{i}"], [f"c{i}"], **padded))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"x{i + 1}"]))
    nodes += [
        helper.make_node("GlobalAveragePool", [f"x{len(channels) - 1}"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"], axis=1),
        helper.make_node("Gemm", ["flat", "dense"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    constants = [numpy_helper.from_array(w.astype(np.float32), n) for n, w in weights.items()]
    return _model(nodes, constants, (side_px, side_px, 3), classes)


def colour_detector(side_px: int = 16, score: float = 0.9) -> bytes:
    """Return a detector that boxes the bright pixels of each channel, a class each of `COLOURS`.

    It follows the contract of trained detectors, three boxes an image, but for their order: a
    channel without bright pixels keeps its place, with score 0.

    Args:
        side_px: Height and width of its input.
        score: Of every box it finds.
    """
    axis = np.arange(side_px, dtype=np.float32)
    constants = {
        "threshold": np.array(127, np.float32),
        "x_after": (axis + 1).reshape(1, 1, side_px, 1),
        "x_before": (side_px - axis).reshape(1, 1, side_px, 1),
        "y_after": (axis + 1).reshape(1, side_px, 1, 1),
        "y_before": (side_px - axis).reshape(1, side_px, 1, 1),
        "side": np.array(side_px, np.float32),
        "score": np.array(score, np.float32),
        "plane": np.array([1, 2], np.int64),
        "last": np.array([2], np.int64),
        "numbers": np.arange(3, dtype=np.int64).reshape(1, 3),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Greater", ["floats", "threshold"], ["is_bright"]),
        helper.make_node("Cast", ["is_bright"], ["bright"], to=TensorProto.FLOAT),
    ]
    for edge in ("x_after", "y_after", "x_before", "y_before"):
        nodes += [
            helper.make_node("Mul", ["bright", edge], [f"{edge}_at"]),
            helper.make_node("ReduceMax", [f"{edge}_at", "plane"], [f"{edge}_max"], keepdims=0),
        ]
    nodes += [
        helper.make_node("Sub", ["side", "x_before_max"], ["x_min"]),
        helper.make_node("Sub", ["side", "y_before_max"], ["y_min"]),
    ]
    for corner in ("x_min", "y_min", "x_after_max", "y_after_max"):
        nodes.append(helper.make_node("Unsqueeze", [corner, "last"], [f"{corner}_column"]))
    columns = [f"{corner}_column" for corner in ("x_min", "y_min", "x_after_max", "y_after_max")]
    nodes += [
        helper.make_node("Concat", columns, ["boxes"], axis=2),
        helper.make_node("ReduceMax", ["bright", "plane"], ["found"], keepdims=0),
        helper.make_node("Mul", ["found", "score"], ["scores"]),
        helper.make_node("Shape", ["scores"], ["rows"]),
        helper.make_node("Expand", ["numbers", "rows"], ["labels"]),
    ]
    outputs = {
        "boxes": (TensorProto.FLOAT, (3, 4)),
        "scores": (TensorProto.FLOAT, (3,)),
        "labels": (TensorProto.INT64, (3,)),
    }
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    return _graph(nodes, initializers, (side_px, side_px, 3), outputs)


def colour_segmenter(side_px: int = 16) -> bytes:
    """Return a segmenter: each pixel's strongest channel where it is bright, else background.

    It follows the contract of trained segmenters, with the classes `COLOURS`.

    Args:
        side_px: Height and width of its input.
    """
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "scale"], ["scaled"]),
        helper.make_node("ReduceMax", ["scaled", "last"], ["confidence"], keepdims=0),
        helper.make_node("Greater", ["confidence", "threshold"], ["is_bright"]),
        helper.make_node("ArgMax", ["scaled"], ["channel"], axis=3, keepdims=0),
        helper.make_node("Add", ["channel", "one"], ["class"]),
        helper.make_node("Where", ["is_bright", "class", "zero"], ["chosen"]),
        helper.make_node("Cast", ["chosen"], ["mask"], to=TensorProto.UINT8),
    ]
    constants = {
        "scale": np.array(1 / 255, np.float32),
        "threshold": np.array(0.5, np.float32),
        "last": np.array([3], np.int64),
        "one": np.array(1, np.int64),
        "zero": np.array(0, np.int64),
    }
    outputs = {
        "mask": (TensorProto.UINT8, (side_px, side_px)),
        "confidence": (TensorProto.FLOAT, (side_px, side_px)),
    }
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    return _graph(nodes, initializers, (side_px, side_px, 3), outputs)


def solid(colour: str, side_px: int = 8) -> npt.NDArray[np.uint8]:
    """Return an image of one of `COLOURS`: `(side_px, side_px, 3)` uint8, RGB."""
    image = np.zeros((side_px, side_px, 3), np.uint8)
    image[..., COLOURS.index(colour)] = 255
    return image


async def commit_model(
    log: CommitLog,
    objects: ObjectStore,
    onnx: bytes,
    *,
    name: str = "colours",
    classes: Sequence[str] = COLOURS,
    shape: tuple[int, int, int] = (8, 8, 3),
    task: str = "classification",
    fit: str = "",
) -> Committed[ModelCommitted]:
    """Store an ONNX file and commit it as the model's next version."""
    file = ModelFile(name="model.onnx", digest=sha256_hex(onnx), size_bytes=len(onnx))
    await objects.put(Area.MODELS, onnx)
    digest = digest_of([file.digest, list(classes), list(shape), task, fit])
    artefact = ArtefactRef(
        kind=ArtefactKind.ARTEFACT_KIND_MODEL, name=name, digest=digest, role="model"
    )
    size = Preprocessing(
        height_px=shape[0], width_px=shape[1], channels=shape[2], interpolation="area", fit=fit
    )
    message = ModelCommitted(
        commit=Commit(artefact=artefact, run=_run(RunKind.RUN_KIND_TRAIN, digest)),
        task=task,
        recipe="test",
        classes=classes,
        preprocessing=size,
        files=[file],
    )

    async def build(_: Committed[ModelCommitted] | None) -> ModelCommitted:
        return message

    return await log.commit(catalog.MODEL_COMMITTED, build, name=name)


async def move_alias(
    log: CommitLog,
    target: ArtefactRef,
    alias: str = "champion",
    rollout: Rollout | None = None,
) -> Committed[AliasMoved]:
    """Make an alias of the target's model point to it, perhaps with another version beside it."""
    artefact = ArtefactRef(
        kind=ArtefactKind.ARTEFACT_KIND_ALIAS, name=f"{target.name}/{alias}", digest=target.digest
    )

    async def build(head: Committed[AliasMoved] | None) -> AliasMoved:
        after = head.sequence if head else 0
        run = _run(RunKind.RUN_KIND_DEPLOY, f"{target.digest} after {after}")
        return AliasMoved(
            commit=Commit(artefact=artefact, run=run),
            model=target.name,
            alias=alias,
            target=target,
            previous=head.message.target if head else None,
            rollout=rollout,
        )

    return await log.commit(catalog.ALIAS_MOVED, build, model=target.name, alias=alias)


def _run(kind: RunKind, what: str) -> Run:
    return runs.new_run(kind, parameters={"what": what})


def _model(
    nodes: Sequence[NodeProto],
    constants: Sequence[TensorProto],
    shape: tuple[int, int, int],
    classes: int,
) -> bytes:
    return _graph(nodes, constants, shape, {"probabilities": (TensorProto.FLOAT, (classes,))})


def _graph(
    nodes: Sequence[NodeProto],
    constants: Sequence[TensorProto],
    shape: tuple[int, int, int],
    outputs: Mapping[str, tuple[int, tuple[int, ...]]],
) -> bytes:
    """Return a model on images; `outputs` have an element type and a shape without the batch."""
    graph: GraphProto = helper.make_graph(
        nodes,
        "images",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", *shape])],
        [
            helper.make_tensor_value_info(name, kind, ["batch", *sizes])
            for name, (kind, sizes) in outputs.items()
        ],
        constants,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    data: bytes = model.SerializeToString()
    return data
