"""A recipe's detector at work in a pipeline: both say together what each of them says alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from loopline.contracts.inference.v1 import predict_pb2
from loopline.store.blobs import MemoryBlobs
from loopline.testing.memory import MemoryBus, memory_service
from loopline.testing.onnx_models import commit_model, dense_classifier, move_alias
from loopline.vision.images import decode
from services.inference.domain.crops import window
from services.inference.service import Inference
from services.inference.settings import InferenceSettings
from tests.unit.inference.conftest import Client
from tests.unit.inference.test_pipelines import put, request, tensors

SIDE_PX, CUT_PX = 128, 16
SCORE_MIN, CROPS_MAX, MARGIN = 0.0, 40, 0.1  # more cuts than one group holds
SORTS = ("dark", "light", "round")
FLOW = f"""
flow: laboratory
datasets: [laboratory]
pipeline:
  - name: parts
    detector: {{model: nuclei}}
    classifier: {{model: sorts}}
    score_min: {SCORE_MIN}
    crops_max: {CROPS_MAX}
    margin: {MARGIN}
"""


async def check_pipeline(onnx: bytes, files: Sequence[bytes], folder: Path) -> None:
    """Serve a detector of nuclei before a classifier, and compare with asking one by one."""
    settings = InferenceSettings(data_dir=folder, engine_threads=1, decode_threads=2, drain_s=1.0)
    service = memory_service(Inference, settings, MemoryBus(), MemoryBlobs())
    await service.start()
    client = Client(service.fronts.grpc.port)
    try:
        await deploy(service, onnx)
        together = tensors(await client.infer(request(*files)))
        asked = request(*files)
        asked.model_name = "nuclei"
        alone = tensors(await client.infer(asked))
        for row, file in enumerate(files):
            sizes = alone["boxes"][row][:, 2:] - alone["boxes"][row][:, :2]
            sure = np.flatnonzero((sizes >= 1).all(axis=1))[:CROPS_MAX]
            assert len(sure) == CROPS_MAX
            np.testing.assert_array_equal(together["boxes"][row], alone["boxes"][row][sure])
            np.testing.assert_array_equal(together["scores"][row], alone["scores"][row][sure])
            said = await classified(client, file, alone["boxes"][row][sure])
            assert together["class"][row].tolist() == [one.class_name for one in said]
            sureness = [one.confidence for one in said]
            np.testing.assert_allclose(together["confidence"][row], sureness, rtol=1e-5)
        assert len(set(together["confidence"].ravel())) > CROPS_MAX, "the cuts differ"
    finally:
        client.close()
        await service.stop()
        service.objects.close()


async def deploy(service: Inference, detector: bytes) -> None:
    """Serve both models, and put the flow that joins them."""
    side, cut = (SIDE_PX, SIDE_PX, 1), (CUT_PX, CUT_PX, 1)
    classifier = dense_classifier(cut, len(SORTS))
    models = [
        await commit_model(
            service.log, service.objects, detector, name="nuclei", classes=("nucleus",),
            shape=side, task="detection", fit="letterbox",
        ),
        await commit_model(
            service.log, service.objects, classifier, name="sorts", classes=SORTS, shape=cut
        ),
    ]  # fmt: skip
    for model in models:
        await move_alias(service.log, model.ref)
    await put(service, FLOW)


async def classified(
    client: Client, file: bytes, boxes: np.ndarray
) -> list[predict_pb2.ImagePrediction]:
    """Return what the classifier says of each box, cut out into a file of its own."""
    pixels = decode(file, 1)
    cuts = []
    for box in boxes:
        top, bottom, left, right = window(box, MARGIN, pixels.shape[0], pixels.shape[1])
        cuts.append(bytes(cv2.imencode(".png", pixels[top:bottom, left:right])[1]))
    answer = await client.predict(predict_pb2.PredictRequest(model="sorts", images=cuts))
    assert not any(said.error for said in answer.predictions)
    return list(answer.predictions)
