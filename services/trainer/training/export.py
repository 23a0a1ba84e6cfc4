"""The files of a model version: weights, ONNX, and the proof that both say the same."""

from __future__ import annotations

import contextlib
import hashlib
import io
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import safetensors.torch
import torch

from loopline.digests import canonical_json
from loopline.errors import Rejected
from services.trainer.domain.manifest import InputFormat
from services.trainer.recipes.interface import Batch, Export, Outputs, Recipe
from services.trainer.training.batches import Split

OPSET: Final = 20
BATCH_MAX: Final = 1024
INPUT: Final = "image"
PARITY_TOLERANCE: Final = 1e-4  # between torch's and onnxruntime's outputs
METRICS_TOLERANCE: Final = 1e-3  # between what is measured with either
PARITY_IMAGES: Final = 512
POSTPROCESSING: Final = {
    "classification": "softmax and its temperature are in the graph: probabilities by class",
    "detection": "decoding and non-maximum suppression are in the graph: boxes xyxy in pixels of "
    "the input, by falling score, padded with score 0",
    "segmentation": "the choice of class is in the graph: 0 is background, k the class k - 1",
}


def weights_file(model: torch.nn.Module) -> bytes:
    """Return the model's tensors as safetensors; equal tensors give equal bytes."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    return safetensors.torch.save(tensors)


def weights_digest(model: torch.nn.Module) -> str:
    """Return the sha256 over the names, types, shapes and bytes of the model's tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        values = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{name} {values.dtype.str} {values.shape}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def stated(recipe: Recipe[Any]) -> dict[str, str]:
    """Return what an ONNX file says of itself, so that it can be used without its manifest."""
    return {
        "opset": str(OPSET),
        "task": recipe.task,
        "classes": canonical_json(list(recipe.classes)).decode(),
        "preprocessing": canonical_json(asdict(recipe.input_format)).decode(),
        "postprocessing": POSTPROCESSING[recipe.task],
    }


def onnx_file(
    export: Export, input_format: InputFormat, metadata: Mapping[str, str] | None = None
) -> bytes:
    """Return the module as ONNX: dynamic batch, weights inside, nothing of this machine in it.

    torch's exporter notes paths and source lines at each node; without them equal models give equal
    bytes. In their place stands what `metadata` says of the model.

    Raises:
        Rejected: The network cannot be exported.
    """
    example = torch.zeros(
        (2, input_format.height_px, input_format.width_px, input_format.channels), dtype=torch.uint8
    )
    batch = torch.export.Dim("batch", min=1, max=BATCH_MAX)
    module = export.module.cpu().eval()
    try:
        with _quietly():
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                dynamic_shapes=({0: batch},),
                input_names=[INPUT],
                output_names=list(export.outputs),
                external_data=False,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise Rejected(f"the network cannot be exported to ONNX: {error}") from error
    assert program is not None  # it is, with dynamo=True
    proto = program.model_proto
    _strip(proto)
    onnx.helper.set_model_props(proto, dict(sorted((metadata or {}).items())))
    onnx.checker.check_model(proto)
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


@dataclass(frozen=True, slots=True)
class Parity:
    """How far the exported network is from the trained one, on real images.

    Attributes:
        difference: Largest difference of an output, as the recipe measures it.
        metrics: Largest difference of a metric.
    """

    difference: float
    metrics: float


def parity(recipe: Recipe[Any], export: Export, onnx_model: bytes, split: Split) -> Parity:
    """Compare torch's and onnxruntime's outputs, and what is measured with each.

    Raises:
        Rejected: They differ by more than `PARITY_TOLERANCE` or `METRICS_TOLERANCE`.
    """
    session = inference_session(onnx_model)
    module = export.module.cpu().eval()
    ours: list[Outputs] = []
    theirs: list[Outputs] = []
    for images in _first_images(split.batches(recipe)):
        with torch.no_grad():
            found = module(torch.from_numpy(images))
        found = found if isinstance(found, tuple) else (found,)
        arrays = [output.numpy() for output in found]
        ours.append(dict(zip(export.outputs, arrays, strict=True)))
        arrays = session.run(list(export.outputs), {INPUT: images})
        theirs.append(dict(zip(export.outputs, arrays, strict=True)))
    differences = [recipe.difference(*pair) for pair in zip(ours, theirs, strict=True)]
    looked_at = min(len(split), PARITY_IMAGES)
    targets, assets = split.targets[:looked_at], split.assets[:looked_at]
    one = recipe.judge(map(recipe.surely, ours), targets, assets).metrics
    other = recipe.judge(map(recipe.surely, theirs), targets, assets).metrics
    result = Parity(max(differences), max(abs(one[name] - other[name]) for name in one))
    if not (result.difference <= PARITY_TOLERANCE and result.metrics <= METRICS_TOLERANCE):
        raise Rejected(
            f"the exported network differs from the trained one by {result.difference:.2g}, "
            f"its metrics by {result.metrics:.2g}"
        )
    return result


def inference_session(onnx_model: bytes) -> onnxruntime.InferenceSession:
    """Return a session on one CPU thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(onnx_model, options, providers=["CPUExecutionProvider"])


def _first_images(batches: Iterable[Batch]) -> Iterator[npt.NDArray[np.uint8]]:
    room = PARITY_IMAGES
    for batch in batches:
        if room <= 0:
            return
        yield batch.images[:room]
        room -= len(batch.images)


def _strip(proto: onnx.ModelProto) -> None:
    graph = proto.graph
    noted: list[Any] = [proto, graph, *graph.node, *graph.value_info, *graph.initializer]
    for part in [*noted, *graph.input, *graph.output]:
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep the exporter's notices (progress, warnings about its own internals) to itself."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
