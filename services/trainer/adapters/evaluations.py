"""Between the contracts' messages and measuring: what is asked, and what is committed."""

from __future__ import annotations

from dataclasses import dataclass

from loopline.contracts import (
    ArtefactKind,
    ArtefactRef,
    Commit,
    DatasetCommitted,
    Evaluation,
    EvaluationCommitted,
    ModelCommitted,
    ModelFile,
    Run,
    RunChanged,
    RunState,
)
from loopline.errors import Rejected
from loopline.evaluation.report import Report
from loopline.store.commits import Committed
from services.trainer.domain.manifest import InputFormat, Manifest, StoredFile
from services.trainer.domain.measuring import ONNX_FILE, Counted


@dataclass(frozen=True, slots=True)
class Found:
    """An evaluation whose files are stored.

    Args:
        report: What was found.
        report_digest: Object digest of the report.
        outcomes_digest: Of what was found on each image.
        page_digest: Of the page.
        figures: Of the run.
    """

    report: Report
    report_digest: str
    outcomes_digest: str
    page_digest: str
    figures: dict[str, float]

    def evaluation(self, split_digest: str) -> Evaluation:
        """Return it as commits carry it."""
        return Evaluation(
            split=self.report.split,
            split_digest=split_digest,
            count=self.report.count,
            metrics=self.report.metrics,
            report_digest=self.report_digest,
            outcomes_digest=self.outcomes_digest,
            page_digest=self.page_digest,
        )

    def headline(self) -> str:
        """Return the first of its figures for people: "accuracy 0.871"."""
        name = next(iter(self.report.headline), "")
        return f"{name} {self.report.metrics[name]:.3f}" if name else ""


@dataclass(frozen=True, slots=True)
class Measurement:
    """A model version, what it is measured on, and the run that does it."""

    model: Committed[ModelCommitted]
    dataset: Committed[DatasetCommitted]
    split: str
    run: Run

    @property
    def title(self) -> str:
        """What is measured on what, for people."""
        return f"{version_of(self.model.ref)} on {version_of(self.dataset.ref)}, {self.split}"

    def changed(self, state: RunState, counted: Counted | None = None) -> RunChanged:
        """Return where it is."""
        message = RunChanged(
            run_id=self.run.id, kind=self.run.kind, state=state, title=self.title, unit="images"
        )
        if counted is not None:
            message.done, message.total = counted.done, counted.total
            message.figures["images_per_s"] = counted.images_per_s
        return message

    def completed(self, summary: str, artefact: ArtefactRef) -> RunChanged:
        """Return that it is done, and what it made."""
        message = self.changed(RunState.RUN_STATE_COMPLETED)
        message.message = summary
        message.artefact.CopyFrom(artefact)
        return message

    def evaluated(self, found: Found, split_digest: str) -> EvaluationCommitted:
        """Return the commit of an evaluation; the log fills in its number and parent."""
        return EvaluationCommitted(
            commit=Commit(
                artefact=ArtefactRef(
                    kind=ArtefactKind.ARTEFACT_KIND_EVALUATION,
                    name=self.model.ref.name,
                    digest=found.report_digest,
                ),
                run=self.run,
                summary=f"{self.title}: {found.headline()} on {found.report.count:,} images",
            ),
            model=self.model.ref,
            dataset=self.dataset.ref,
            task=self.model.message.task,
            evaluation=found.evaluation(split_digest),
        )

    def quantized(self, manifest: Manifest, found: Found, split_digest: str) -> ModelCommitted:
        """Return the commit of the model in 8 bit integers."""
        kind = ArtefactKind.ARTEFACT_KIND_MODEL
        before = self.model.message
        return ModelCommitted(
            commit=Commit(
                artefact=ArtefactRef(kind=kind, name=self.model.ref.name, digest=manifest.digest),
                run=self.run,
                summary=f"{version_of(self.model.ref)} in 8 bit integers: {found.headline()} on "
                f"{found.report.count:,} held-out images",
            ),
            task=before.task,
            recipe=before.recipe,
            classes=before.classes,
            preprocessing=before.preprocessing,
            files=[
                ModelFile(name=file.name, digest=file.digest, size_bytes=file.size_bytes)
                for file in manifest.files
            ],
            evaluations=[found.evaluation(split_digest)],
        )


def version_of(ref: ArtefactRef) -> str:
    """Return a version for people: "catalogue@v3"."""
    return f"{ref.name}@v{ref.version}"


def input_format_of(model: ModelCommitted) -> InputFormat:
    """Return what goes before a model's network."""
    wanted = model.preprocessing
    return InputFormat(
        wanted.height_px,
        wanted.width_px,
        wanted.channels,
        wanted.interpolation or "area",
        wanted.fit or "stretch",
    )


def onnx_digest_of(model: Committed[ModelCommitted]) -> str:
    """Return the digest of a model's network; Rejected if it has none."""
    for file in model.message.files:
        if file.name == ONNX_FILE:
            return file.digest
    raise Rejected(f"{version_of(model.ref)} has no file {ONNX_FILE!r}", model=model.ref.name)


def kept_files(model: ModelCommitted, names: frozenset[str]) -> list[StoredFile]:
    """Return those of a model's files that a version made from it keeps."""
    return [StoredFile(f.name, f.digest, f.size_bytes) for f in model.files if f.name in names]
