"""What the protocol tells of the server and its models: metadata, statistics and the like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from loopline import __version__
from loopline.contracts.oip.v2 import model_config_pb2 as config
from loopline.contracts.oip.v2 import repository_pb2, service_pb2, statistics_pb2
from services.inference.adapters.engine.statistics import Duration, Figures
from services.inference.adapters.models.repository import IndexEntry
from services.inference.adapters.models.servable import Servable, Served
from services.inference.adapters.pipelines import Pipeline
from services.inference.adapters.protocol.oip import MODEL_DIGEST
from services.inference.domain.model import (
    BOXES,
    CLASS,
    CONFIDENCE,
    IMAGE_TASKS,
    INPUT,
    LABELS,
    ONNX_FILE,
    SCORES,
    ModelVersion,
    TensorSpec,
)
from services.inference.domain.tensors import BYTES

PRIORITY_LEVELS: Final = 1_000
_US: Final = 1e6
SERVER_NAME: Final = "loopline"
PLATFORM: Final = "onnxruntime_onnx"
PIPELINE_PLATFORM: Final = "ensemble"
BACKEND: Final = "onnxruntime"
EXTENSIONS: Final = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "model_repository(unload_dependents)",
    "parameters",
    "schedule_policy",
    "statistics",
    "system_shared_memory",
)


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
    return _metadata(servable, sorted(versions), PLATFORM)


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
        dynamic_batching=_dynamic_batching(servable),
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


def _dynamic_batching(servable: Servable) -> config.ModelDynamicBatching:
    policy, timeout_s = servable.policy, servable.timeout_s
    return config.ModelDynamicBatching(
        preferred_batch_size=[policy.size],
        max_queue_delay_microseconds=round(policy.max_delay_s * _US),
        preserve_ordering=True,
        priority_levels=PRIORITY_LEVELS,
        default_priority_level=policy.priority,
        default_queue_policy=config.ModelQueuePolicy(
            default_timeout_microseconds=0 if timeout_s is None else round(timeout_s * _US),
            max_queue_size=servable.admission.capacity_images,
        ),
    )


def pipeline_metadata(pipeline: Pipeline) -> service_pb2.ModelMetadataResponse:
    """Return a pipeline's inputs and outputs."""
    return _metadata(pipeline, [pipeline.model.version], PIPELINE_PLATFORM)


def _metadata(
    served: Served, versions: Sequence[int], platform: str
) -> service_pb2.ModelMetadataResponse:
    tensor = service_pb2.ModelMetadataResponse.TensorMetadata
    return service_pb2.ModelMetadataResponse(
        name=served.model.name,
        versions=[str(version) for version in versions],
        platform=platform,
        inputs=[
            tensor(name=spec.name, datatype=spec.datatype, shape=spec.shape)
            for spec in served.signature.inputs
        ],
        outputs=[
            tensor(name=spec.name, datatype=spec.datatype, shape=spec.shape)
            for spec in served.outputs
        ],
    )


def pipeline_config(pipeline: Pipeline, batch_images: int) -> config.ModelConfigResponse:
    """Return how a pipeline is served: which models it asks, and with what."""
    terms = pipeline.terms
    step = config.ModelEnsembling.Step
    of_detector = {name: name for name in (BOXES, SCORES, LABELS)}
    of_classifier = {name: name for name in (CLASS, CONFIDENCE)}
    answer = config.ModelConfig(
        name=terms.name,
        platform=PIPELINE_PLATFORM,
        max_batch_size=batch_images,
        input=[
            config.ModelInput(name=spec.name, data_type=_data_type(spec), dims=(1,))
            for spec in pipeline.signature.inputs
        ],
        output=[
            config.ModelOutput(name=spec.name, data_type=_data_type(spec), dims=spec.shape[1:])
            for spec in pipeline.outputs
        ],
        ensemble_scheduling=config.ModelEnsembling(
            step=[
                step(
                    model_name=terms.detector.model,
                    model_version=-1,
                    input_map={INPUT: INPUT},
                    output_map=of_detector,
                ),
                step(
                    model_name=terms.classifier.model,
                    model_version=-1,
                    input_map={INPUT: BOXES},
                    output_map=of_classifier,
                ),
            ]
        ),
    )
    facts = {
        "task": pipeline.model.task,
        "flow": f"{terms.flow}@v{terms.version}",
        "detector": f"{terms.detector.model}@{terms.detector.alias}",
        "classifier": f"{terms.classifier.model}@{terms.classifier.alias}",
        "score_min": f"{terms.score_min:g}",
        "crops_max": str(terms.crops_max),
        "margin": f"{terms.margin:g}",
        "encoded_images": f"input {INPUT!r} as BYTES of shape [N] or [N, 1]",
    }
    for name, value in facts.items():
        answer.parameters[name].string_value = value
    return config.ModelConfigResponse(config=answer)


def statistics(servables: Sequence[Served]) -> statistics_pb2.ModelStatisticsResponse:
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
