"""KServe's Python client. Usage: python kserve_client.py REST_URL GRPC_ADDRESS."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig
from kserve.protocol.infer_type import RequestedOutput

MODEL = "colours"


def request(*, binary: bool, outputs: list[str] | None = None) -> InferRequest:
    array = np.zeros((2, 8, 8, 3), np.uint8)
    array[0, ..., 2] = array[1, ..., 0] = 255
    image = InferInput(name="image", shape=list(array.shape), datatype="UINT8")
    image.set_data_from_numpy(array, binary_data=binary)
    wanted = [RequestedOutput(name) for name in outputs] if outputs else None
    return InferRequest(
        model_name=MODEL,
        infer_inputs=[image],
        request_id="k1",
        request_outputs=wanted,
        parameters={"binary_data_output": binary},
    )


def seen(response: Any) -> dict[str, Any]:
    by_name = {output.name: output.as_numpy() for output in response.outputs}
    best = by_name["probabilities"].argmax(axis=1).tolist()
    return {"id": response.id, "best": best, "outputs": list(by_name)}


async def refused(call: Any) -> str:
    try:
        await call
    except Exception as error:
        return str(error)
    return ""


async def rest(url: str) -> dict[str, Any]:
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    found = {
        "live": await client.is_server_live(url),
        "ready": await client.is_server_ready(url),
        "model": await client.is_model_ready(url, MODEL),
        "nothing": await client.is_model_ready(url, "nothing"),
        "json": seen(await client.infer(url, request(binary=False), model_name=MODEL)),
        "binary": seen(await client.infer(url, request(binary=True), model_name=MODEL)),
        "refused": await refused(client.infer(url, request(binary=True), model_name="nothing")),
    }
    await client.close()
    return found


async def grpc(address: str) -> dict[str, Any]:
    client = InferenceGRPCClient(address)
    found = {
        "live": await client.is_server_live(),
        "ready": await client.is_server_ready(),
        "model": await client.is_model_ready(MODEL),
        "nothing": await client.is_model_ready("nothing"),
        "typed": seen(await client.infer(request(binary=False))),
        "raw": seen(await client.infer(request(binary=True, outputs=["probabilities"]))),
    }
    await client.close()
    return found


async def main() -> None:
    """Run everything and print it."""
    print(json.dumps({"rest": await rest(sys.argv[1]), "grpc": await grpc(sys.argv[2])}))


if __name__ == "__main__":
    asyncio.run(main())
