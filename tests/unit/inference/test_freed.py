"""What a request holds goes with its answer, and does not wait for the garbage collector.

A cycle that holds a tensor keeps its memory until the collector comes by: the requests meanwhile
get other memory, which is in no cache (a fifteenth of what serving 600 KB costs).
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import pytest

from loopline.contracts.oip.v2 import service_pb2
from loopline.testing.onnx_models import colour_classifier, commit_model, move_alias
from services.inference.adapters.protocol.oip import InferRequest
from services.inference.domain.tensors import EncodedImages, InputTensor, Tensors
from services.inference.service import Inference
from tests.unit.inference.conftest import Client
from tests.unit.inference.test_front import encoded, images_request, pixels, raw_request

REQUESTS = 5


@pytest.fixture
def seldom() -> Iterator[None]:
    """Keep what the collector finds, and have it look only when it is asked to."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(raw_request("UINT8", [1, 8, 8, 3], pixels("red")), id="tensor"),
        pytest.param(images_request(encoded("red")), id="image"),
        pytest.param(images_request(b"not an image"), id="refused"),
    ],
)
async def test_a_request_is_in_no_cycle(
    service: Inference, client: Client, request_: service_pb2.ModelInferRequest, seldom: None
) -> None:
    model = await commit_model(service.log, service.objects, colour_classifier())
    await move_alias(service.log, model.ref)
    await service.aliases.catch_up()
    await asyncio.gather(*(client.infer(request_) for _ in range(REQUESTS)), return_exceptions=True)
    gc.collect()
    kinds = (InferRequest, InputTensor, Tensors, EncodedImages)
    assert [type(found).__name__ for found in gc.garbage if isinstance(found, kinds)] == []
