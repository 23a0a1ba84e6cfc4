"""Between the contracts' messages and the domain: protobuf stops here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopline.contracts import (
    Agent,
    ArtefactKind,
    ArtefactRef,
    Checkpoint,
    Commit,
    DatasetCommitted,
    Evaluation,
    ModelCommitted,
    ModelFile,
    Preprocessing,
    Run,
    RunChanged,
    RunState,
    TrainingProgress,
    TrainModel,
)
from loopline.store.commits import Committed
from loopline.store.items import Item
from services.trainer.domain.examples import TEST, Annotation, Example
from services.trainer.domain.job import Described, Progress, Trained
from services.trainer.domain.manifest import InputFormat, Manifest

SERVICE = "trainer"
REJECTED_REVIEW = "rejected"
ITEM_COLUMNS = (
    "asset", "size_bytes", "width_px", "height_px", "split", "labeled", "shapes", "tags", "source",
)  # fmt: skip
"""The columns of a dataset's tree that `example_of` reads."""


def example_of(item: Item) -> Example:
    """Return a labeled item as an example; annotations that a reviewer rejected are left out."""
    return Example(
        asset=item.asset,
        split=item.split,
        annotations=tuple(
            Annotation(shape.class_name, shape.bbox_xyxy, shape.polygon, shape.mask_rle)
            for shape in item.shapes
            if shape.review != REJECTED_REVIEW
        ),
        width_px=item.width_px,
        height_px=item.height_px,
        size_bytes=item.size_bytes,
        tags=item.tags,
        source=item.source,
    )


def in_role(ref: ArtefactRef, role: str) -> ArtefactRef:
    """Return a reference in the part it plays in a run."""
    taken = ArtefactRef()
    taken.CopyFrom(ref)
    taken.role = role
    return taken


def asked_by(command: TrainModel) -> list[ArtefactRef]:
    """Return the flow that asked for a training, if one did."""
    return [in_role(command.flow, "flow")] if command.HasField("flow") else []


@dataclass(frozen=True, slots=True)
class InitialWeights:
    """Where a training begins.

    Attributes:
        parameter: As the run records it: an alias became the version it named.
        inputs: What the run reads for it.
        digest: Of the file in storage; empty for one on this machine.
        path: Of the file on this machine.
    """

    parameter: str
    inputs: tuple[ArtefactRef, ...] = ()
    digest: str = ""
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Training:
    """One training on its way: what the messages about it have in common."""

    model: str
    recipe: str
    dataset: Committed[DatasetCommitted]
    described: Described
    run: Run
    initial_weights: InitialWeights

    @property
    def dataset_version(self) -> str:
        """The dataset version for people: "catalogue@v3"."""
        return f"{self.dataset.ref.name}@v{self.dataset.ref.version}"

    @property
    def title(self) -> str:
        """What is trained on what, for people."""
        return f"{self.model} on {self.dataset_version}"

    def running(
        self, progress: Progress | None = None, checkpoints: Sequence[Checkpoint] = ()
    ) -> RunChanged:
        """Return where it is."""
        message = self._changed(RunState.RUN_STATE_RUNNING, checkpoints)
        if progress is not None:
            message.done, message.total = progress.epoch, progress.epochs
            message.training.MergeFrom(
                TrainingProgress(
                    epoch=progress.epoch,
                    epochs=progress.epochs,
                    step=progress.step,
                    steps=progress.steps,
                    loss=progress.loss,
                    metrics=progress.metrics,
                    images_per_s=progress.images_per_s,
                    eta_s=progress.eta_s,
                    learning_rate=progress.learning_rate,
                )
            )
        return message

    def completed(self, committed: Committed[Any]) -> RunChanged:
        """Return that it is done, and what it made."""
        message = self._changed(RunState.RUN_STATE_COMPLETED)
        message.message = committed.commit.summary
        message.artefact.CopyFrom(committed.ref)
        epochs = int(self.described.parameters["epochs"])
        message.done = message.total = epochs
        return message

    def ended(
        self, state: RunState, reason: str, checkpoints: Sequence[Checkpoint] = ()
    ) -> RunChanged:
        """Return why it failed, was cancelled or has to be tried again."""
        message = self._changed(state, checkpoints)
        message.message = reason
        return message

    def committed(
        self, trained: Trained, manifest: Manifest, run: Run, reports: Mapping[str, str]
    ) -> ModelCommitted:
        """Return the commit of the new version; the log fills in its number and parent."""
        value = trained.metrics.get(trained.headline)
        found = f": {trained.headline} {value:.3f}" if value is not None else ""
        return ModelCommitted(
            commit=Commit(
                artefact=ArtefactRef(
                    kind=ArtefactKind.ARTEFACT_KIND_MODEL, name=self.model, digest=manifest.digest
                ),
                run=run,
                summary=f"{self.recipe} on {self.dataset_version}{found} "
                f"on {trained.count:,} held-out images",
            ),
            task=manifest.task,
            recipe=self.recipe,
            classes=manifest.classes,
            preprocessing=preprocessing_of(manifest.input_format),
            files=[
                ModelFile(name=file.name, digest=file.digest, size_bytes=file.size_bytes)
                for file in manifest.files
            ],
            evaluations=[
                Evaluation(
                    split=TEST,
                    split_digest=self.dataset.message.test_split_digest,
                    count=trained.count,
                    metrics=trained.metrics,
                    report_digest=reports["evaluation"],
                    outcomes_digest=reports["outcomes"],
                    page_digest=reports["page"],
                )
            ],
        )

    def _changed(self, state: RunState, checkpoints: Sequence[Checkpoint] = ()) -> RunChanged:
        training = TrainingProgress(checkpoints=checkpoints) if checkpoints else None
        return RunChanged(
            training=training,
            run_id=self.run.id,
            kind=self.run.kind,
            state=state,
            title=self.title,
            unit="epochs",
        )


def preprocessing_of(input_format: InputFormat) -> Preprocessing:
    """Return what a client must do; mean and std stay empty, for the graph applies them."""
    return Preprocessing(
        height_px=input_format.height_px,
        width_px=input_format.width_px,
        channels=input_format.channels,
        interpolation=input_format.interpolation,
        fit=input_format.fit,
    )


def members_of(trained: Trained) -> list[Agent]:
    """Return the workers that shared a training, by rank; none where one did it alone."""
    return [Agent(id=name, host=host, service=SERVICE) for name, host in trained.members]


def report_outputs(digests: Sequence[tuple[str, str]]) -> list[ArtefactRef]:
    """Return the reports of a run by (role, digest), for the run's outputs."""
    return [
        ArtefactRef(kind=ArtefactKind.ARTEFACT_KIND_REPORT, role=role, digest=digest)
        for role, digest in digests
    ]
