"""The engine: what it takes, and that an image's answer does not depend on its company."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

from loopline.errors import Rejected
from loopline.testing.onnx_models import colour_classifier, dense_classifier, solid
from services.inference.adapters.engine.session import (
    CPU,
    EngineOptions,
    OnnxEngine,
    choose_providers,
)
from services.inference.domain.model import ModelVersion
from services.inference.domain.tensors import Array

ONE_THREAD = EngineOptions(threads=1)


def version(
    shape: tuple[int, int, int] = (8, 8, 3), classes: tuple[str, ...] = ("red", "green", "blue")
) -> ModelVersion:
    return ModelVersion("colours", 1, "d" * 64, classes, *shape, "area", "e" * 64, 1000)


def probabilities_of(engine: OnnxEngine, images: Array) -> Array:
    return engine.run({"image": images})["probabilities"]


def test_it_tells_colours_apart() -> None:
    engine = OnnxEngine(colour_classifier(), version(), ONE_THREAD)
    batch = np.stack([solid("blue"), solid("red")])
    probabilities = probabilities_of(engine, batch)
    assert probabilities.shape == (2, 3)
    assert probabilities.dtype == np.float32
    assert probabilities.argmax(axis=1).tolist() == [2, 0]


@pytest.mark.parametrize("threads", [1, 2])
def test_an_images_probabilities_are_the_same_bits_in_every_batch(threads: int) -> None:
    """A predictions tree is told by its digest, so it must not depend on how work was cut up."""
    shape = (28, 28, 1)
    model = version(shape, tuple(map(str, range(10))))
    onnx = dense_classifier(shape, 10, hidden=256)
    images = np.random.default_rng(1).integers(0, 256, (48, *shape), dtype=np.uint8)
    alone = OnnxEngine(onnx, model, ONE_THREAD)
    expected = np.concatenate([probabilities_of(alone, images[i : i + 1]) for i in range(48)])
    engine = OnnxEngine(onnx, model, EngineOptions(threads=threads))
    for size in (2, 3, 5, 8, 16, 48):
        got = [
            probabilities_of(engine, images[start : start + size]) for start in range(0, 48, size)
        ]
        assert np.array_equal(np.concatenate(got), expected), size


def test_the_processor_comes_last_and_is_always_there() -> None:
    assert choose_providers(())[-1] == CPU
    assert choose_providers((CPU,)) == [CPU]


def test_a_provider_that_this_onnxruntime_lacks_is_refused_by_name() -> None:
    with pytest.raises(Rejected, match="no 'QuantumExecutionProvider'"):
        choose_providers(("QuantumExecutionProvider",))


def test_a_provider_that_was_asked_for_and_does_not_run_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """onnxruntime falls back to the processor without a word."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["ROCMExecutionProvider", CPU])
    real = ort.InferenceSession

    def without(onnx: bytes, options: ort.SessionOptions, providers: list[str]) -> object:
        assert providers == ["ROCMExecutionProvider", CPU]
        return real(onnx, options, providers=[CPU])

    monkeypatch.setattr(ort, "InferenceSession", without)
    with pytest.raises(Rejected, match="not on ROCMExecutionProvider"):
        OnnxEngine(
            colour_classifier(), version(), EngineOptions(providers=("ROCMExecutionProvider",))
        )


def test_a_gpu_is_not_tried_where_there_is_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    available = ["TensorrtExecutionProvider", "CUDAExecutionProvider", CPU]
    monkeypatch.setattr(ort, "get_available_providers", lambda: available)
    monkeypatch.setattr("services.inference.adapters.engine.session._GPU_DEVICES", ())
    assert choose_providers(()) == [CPU]


def test_bytes_that_are_no_model_are_refused() -> None:
    with pytest.raises(Rejected, match="colours@v1 cannot be loaded"):
        OnnxEngine(b"not a model", version(), ONE_THREAD)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        pytest.param(version((9, 8, 3)), r"takes UINT8 \[-1, 8, 8, 3\]", id="another size"),
        pytest.param(version(classes=("a", "b")), "2 classes", id="another number of classes"),
    ],
)
def test_a_file_that_is_not_what_its_version_says_is_refused(
    model: ModelVersion, message: str
) -> None:
    with pytest.raises(Rejected, match=message):
        OnnxEngine(colour_classifier(), model, ONE_THREAD)


def test_bound_tensors_give_the_same_answers() -> None:
    """As executions on a GPU are run; the processor binds as well."""
    engine = OnnxEngine(colour_classifier(), version(), ONE_THREAD)
    batch = {"image": np.stack([solid("blue"), solid("red")])}
    bound = engine.run_bound(batch)["probabilities"]
    assert np.array_equal(bound, engine.run(batch)["probabilities"])


def test_a_version_is_measured_as_it_loads() -> None:
    onnx = dense_classifier((28, 28, 1), 10, hidden=256)
    model = version((28, 28, 1), tuple(map(str, range(10))))
    engine = OnnxEngine(onnx, model, EngineOptions(max_batch=8))
    assert engine.preferred_batch in (1, 2, 4, 8)
    assert engine.size_bytes >= len(onnx)
    assert engine.instances >= 1
