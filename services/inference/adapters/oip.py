"""The Open Inference Protocol's messages, from bytes and to bytes.

https://kserve.github.io/website/latest/modelserving/data_plane/v2_protocol/ and Triton's
extensions. An answer is raw where the request was raw, typed where it was typed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from google.protobuf.message import DecodeError

from loopline import __version__
from loopline.contracts.oip.v2 import model_config_pb2 as config
from loopline.contracts.oip.v2 import repository_pb2, service_pb2, statistics_pb2
from loopline.contracts.oip.v2.tensor_pb2 import InferParameter
from loopline.errors import Rejected
from services.inference.adapters.repository import IndexEntry
from services.inference.adapters.servable import Servable
from services.inference.adapters.statistics import Duration, Figures
from services.inference.domain.answers import OutputTensor
from services.inference.domain.model import (
    IMAGE_TASKS,
    INPUT,
    ONNX_FILE,
    ModelVersion,
    TensorSpec,
)
from services.inference.domain.tensors import BYTES, DTYPES, Array, InputTensor, join_raw_bytes

SERVER_NAME: Final = "loopline"
PLATFORM: Final = "onnxruntime_onnx"
BACKEND: Final = "onnxruntime"
EXTENSIONS: Final = ("model_repository", "model_configuration", "statistics")
MODEL_DIGEST: Final = "model_digest"

_FIELDS: Final[Mapping[str, str]] = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}
"""Where typed elements are, by datatype; FP16 and BF16 have no field: they travel raw."""
_REFUSED: Final[Mapping[str, str]] = {
    "shared_memory_region": "shared memory is not served",
    "classification": "the classification extension is not served: ask for the output 'class'",
}
"""Parameters of tensors that would change the answer's meaning if they were ignored."""


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A decoded ModelInferRequest.

    Args:
        model: The model's name.
        version: Its version, alias, or empty.
        id: Returned with the answer.
        inputs: Its tensors.
        outputs: The outputs it names, in order; none for all of them.
        is_raw: Whether the tensors came raw, and the answer goes raw.
    """

    model: str
    version: str
    id: str
    inputs: tuple[InputTensor, ...]
    outputs: tuple[str, ...]
    is_raw: bool


def decode_request(data: bytes) -> InferRequest:
    """Return a request from its bytes.

    Raises:
        Rejected: It is not one, or asks for what is not served.
    """
    try:
        message = service_pb2.ModelInferRequest.FromString(data)
    except DecodeError as error:
        raise Rejected(f"not a ModelInferRequest: {error}") from error
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise Rejected(
            f"{len(message.inputs)} inputs and {len(raw)} raw_input_contents: one each is needed"
        )
    inputs = tuple(
        _input(tensor, raw[index] if raw else None) for index, tensor in enumerate(message.inputs)
    )
    for output in message.outputs:
        _refuse(output.parameters, f"output {output.name!r}")
    return InferRequest(
        model=message.model_name,
        version=message.model_version,
        id=message.id,
        inputs=inputs,
        outputs=tuple(output.name for output in message.outputs),
        is_raw=bool(raw),
    )


def encode_response(
    request: InferRequest, model: ModelVersion, outputs: Sequence[OutputTensor]
) -> bytes:
    """Return the bytes of the answer.

    Args:
        request: What was asked.
        model: Who answers.
        outputs: What it says.
    """
    response = service_pb2.ModelInferResponse(
        model_name=model.name, model_version=str(model.version), id=request.id
    )
    response.parameters[MODEL_DIGEST].string_param = model.digest
    for output in outputs:
        _add_output(response, output, request.is_raw)
    return response.SerializeToString()


def server_metadata() -> service_pb2.ServerMetadataResponse:
    """Return what the server says of itself."""
    return service_pb2.ServerMetadataResponse(
        name=SERVER_NAME, version=__version__, extensions=EXTENSIONS
    )


def model_metadata(
    servable: Servable, versions: Sequence[int]
) -> service_pb2.ModelMetadataResponse:
    """Return a model version's inputs and outputs.

    The input is told as pixels; encoded images go in under the same name as BYTES [N] or [N, 1].
    """
    model = servable.model
    tensor = service_pb2.ModelMetadataResponse.TensorMetadata
    return service_pb2.ModelMetadataResponse(
        name=model.name,
        versions=[str(version) for version in sorted(versions)],
        platform=PLATFORM,
        inputs=[
            tensor(name=spec.name, datatype=spec.datatype, shape=spec.shape)
            for spec in servable.signature.inputs
        ],
        outputs=[
            tensor(name=spec.name, datatype=spec.datatype, shape=spec.shape)
            for spec in servable.outputs
        ],
    )


def model_config(servable: Servable, batch_images: int) -> config.ModelConfigResponse:
    """Return how a model version is served."""
    model = servable.model
    on_gpu = servable.engine.providers[0] in ("CUDAExecutionProvider", "TensorrtExecutionProvider")
    group = config.ModelInstanceGroup
    answer = config.ModelConfig(
        name=model.name,
        platform=PLATFORM,
        backend=BACKEND,
        max_batch_size=batch_images if servable.signature.batches else 0,
        input=[
            config.ModelInput(
                name=spec.name,
                data_type=_data_type(spec),
                format=config.ModelInput.FORMAT_NHWC
                if model.task in IMAGE_TASKS
                else config.ModelInput.FORMAT_NONE,
                dims=_dims(spec, servable),
            )
            for spec in servable.signature.inputs
        ],
        output=[
            config.ModelOutput(
                name=spec.name, data_type=_data_type(spec), dims=_dims(spec, servable)
            )
            for spec in servable.outputs
        ],
        instance_group=[
            group(name=model.name, count=1, kind=group.KIND_GPU if on_gpu else group.KIND_CPU)
        ],
        default_model_filename=ONNX_FILE,
        dynamic_batching=config.ModelDynamicBatching(
            preferred_batch_size=[servable.max_batch],
            preserve_ordering=True,
            default_queue_policy=config.ModelQueuePolicy(
                max_queue_size=servable.admission.capacity_images
            ),
        ),
    )
    facts = {
        MODEL_DIGEST: model.digest,
        "version": str(model.version),
        "classes": ",".join(model.classes),
        "execution_providers": ",".join(servable.engine.providers),
        "task": model.task,
    }
    if model.task in IMAGE_TASKS:
        facts["encoded_images"] = f"input {INPUT!r} as BYTES of shape [N] or [N, 1]"
    for name, value in facts.items():
        answer.parameters[name].string_value = value
    return config.ModelConfigResponse(config=answer)


def statistics(servables: Sequence[Servable]) -> statistics_pb2.ModelStatisticsResponse:
    """Return what model versions did since they were loaded."""
    return statistics_pb2.ModelStatisticsResponse(
        model_stats=[_statistics(s.model, s.statistics.snapshot()) for s in servables]
    )


def repository_index(entries: Sequence[IndexEntry]) -> repository_pb2.RepositoryIndexResponse:
    """Return the index of model versions."""
    entry = repository_pb2.RepositoryIndexResponse.ModelIndex
    return repository_pb2.RepositoryIndexResponse(
        models=[
            entry(name=e.key.model, version=str(e.key.version), state=e.state, reason=e.reason)
            for e in entries
        ]
    )


def _input(
    tensor: service_pb2.ModelInferRequest.InferInputTensor, raw: bytes | None
) -> InputTensor:
    _refuse(tensor.parameters, f"input {tensor.name!r}")
    if raw is not None and tensor.HasField("contents"):
        raise Rejected(f"input {tensor.name!r} has both contents and raw contents")
    elements = _typed(tensor) if raw is None else raw
    return InputTensor(tensor.name, tensor.datatype, tuple(tensor.shape), elements)


def _typed(tensor: service_pb2.ModelInferRequest.InferInputTensor) -> Sequence[Any]:
    """Return the elements from the field of the tensor's datatype; none where there is no field."""
    field = _FIELDS.get(tensor.datatype)
    return getattr(tensor.contents, field) if field else ()


def _refuse(parameters: Mapping[str, InferParameter], what: str) -> None:
    for name, reason in _REFUSED.items():
        if name in parameters:
            raise Rejected(f"{what}: {reason}")


def _add_output(
    response: service_pb2.ModelInferResponse, output: OutputTensor, is_raw: bool
) -> None:
    values, datatype = output.values, output.datatype
    tensor = response.outputs.add(name=output.name, datatype=datatype, shape=values.shape)
    field = _FIELDS.get(datatype)
    if is_raw or field is None:
        response.raw_output_contents.append(raw_elements(values, datatype))
    else:
        getattr(tensor.contents, field).extend(values.ravel().tolist())


def raw_elements(values: Array, datatype: str) -> bytes:
    """Return the raw form of an array."""
    if datatype == BYTES:
        return join_raw_bytes(values.ravel().tolist())
    return values.astype(DTYPES[datatype], copy=False).tobytes()


def _data_type(spec: TensorSpec) -> config.DataType:
    name = "STRING" if spec.datatype == BYTES else spec.datatype
    return cast("config.DataType", config.DataType.Value(f"TYPE_{name}"))


def _dims(spec: TensorSpec, servable: Servable) -> Sequence[int]:
    """Return a tensor's axes without that of the batch, which Triton's configuration leaves out."""
    if not servable.signature.batches:
        return spec.shape
    return spec.shape[1:] or (1,)


def _statistics(model: ModelVersion, figures: Figures) -> statistics_pb2.ModelStatistics:
    return statistics_pb2.ModelStatistics(
        name=model.name,
        version=str(model.version),
        last_inference=figures.last_inference_ms,
        inference_count=figures.images,
        execution_count=figures.executions,
        inference_stats=statistics_pb2.InferStatistics(
            success=_duration(figures.success),
            fail=_duration(figures.fail),
            queue=_duration(figures.queue),
            compute_input=_duration(figures.input),
            compute_infer=_duration(figures.infer),
            compute_output=_duration(figures.output),
        ),
        batch_stats=[
            statistics_pb2.InferBatchStatistics(
                batch_size=size,
                compute_input=_duration(times.input),
                compute_infer=_duration(times.infer),
                compute_output=_duration(times.output),
            )
            for size, times in sorted(figures.batches.items())
        ],
    )


def _duration(value: Duration) -> statistics_pb2.StatisticDuration:
    return statistics_pb2.StatisticDuration(count=value.count, ns=value.ns)
