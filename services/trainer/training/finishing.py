"""What follows the last step: export, the measure of what is served, the version's files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from loopline.digests import canonical_json
from loopline.evaluation.report import Report
from loopline.evaluation.training import training_curves
from services.trainer.adapters.files import write_whole
from services.trainer.domain.examples import TEST
from services.trainer.domain.job import Placed, Reports, Train, Trained
from services.trainer.evaluation import pages
from services.trainer.evaluation.measuring import Measured, measure, named
from services.trainer.evaluation.network import Network
from services.trainer.recipes.interface import Recipe
from services.trainer.training import export
from services.trainer.training.session import Fitted

ONNX_FILE = "model.onnx"
WEIGHTS_FILE = "weights.safetensors"
EVALUATION_FILE = "evaluation.json"
OUTCOMES_FILE = "outcomes.npz"
PAGE_FILE = "evaluation.html"
RECIPE_FILE = "recipe.json"


def finished(fitted: Fitted, name: str, job: Train) -> Trained:
    """Export a trained network, measure what is served, and write the version's files.

    Args:
        fitted: The trained network.
        name: Of its recipe.
        job: Where results go.
    """
    recipe, splits, state, figures = fitted.recipe, fitted.splits, fitted.state, fitted.figures
    model = state.judged
    device = next(model.parameters()).device
    exported = recipe.export(model.cpu().eval())
    onnx_model = export.onnx_file(exported, recipe.input_format, export.stated(recipe))
    parity = export.parity(recipe, exported, onnx_model, splits[TEST])
    figures |= {"onnx_parity": parity.difference, "onnx_parity_metrics": parity.metrics}
    measured = _measured(fitted, onnx_model)
    report = named(measured.findings.report, model="", dataset=job.dataset, split=TEST)
    curves = (*report.curves, *training_curves(state.history))
    report = report.model_copy(update={"curves": curves})
    contents = {
        ONNX_FILE: onnx_model,
        WEIGHTS_FILE: export.weights_file(model),
        EVALUATION_FILE: pages.report_file(report),
        RECIPE_FILE: canonical_json(_recipe_document(recipe, name)),
    }
    told = report.model_copy(update={"model": job.model, "speed": measured.speed})
    return Trained(
        files=tuple(_write(job.folder / "files", contents)),
        weights_digest=export.weights_digest(model),
        input_format=recipe.input_format,
        metrics=report.metrics,
        headline=next(iter(report.headline), ""),
        count=report.count,
        reports=_reports(job.folder / "reports", told, measured, fitted.test),
        figures=figures | {"evaluation_images_per_s": measured.speed.images_per_s},
        device=device.type if device.type == "cpu" else torch.cuda.get_device_name(device),
        members=job.place.members,
    )


def _measured(fitted: Fitted, onnx_model: bytes) -> Measured:
    """Measure what is served, on the test split, as any evaluation of the version would."""
    recipe = fitted.recipe
    network = Network(onnx_model, recipe.task, recipe.parameters.threads)
    return measure(network, recipe.task, recipe.classes, recipe.input_format, fitted.test)


def _reports(
    folder: Path, report: Report, measured: Measured, examples: Sequence[Placed]
) -> Reports:
    paths = {one.example.asset: one.path for one in examples}
    contents = {
        EVALUATION_FILE: pages.report_file(report),
        OUTCOMES_FILE: pages.outcomes_file(measured.findings),
        PAGE_FILE: pages.page_file(report, paths),
    }
    evaluation, outcomes, page = _write(folder, contents)
    return Reports(evaluation=evaluation, outcomes=outcomes, page=page)


def _recipe_document(recipe: Recipe[Any], name: str) -> dict[str, Any]:
    return {
        "recipe": name,
        "task": recipe.task,
        "class": f"{type(recipe).__module__}:{type(recipe).__qualname__}",
        "parameters": recipe.parameters.decisive(),
        "classes": list(recipe.classes),
    }


def _write(folder: Path, contents: dict[str, bytes]) -> list[Path]:
    for name, data in contents.items():
        write_whole(folder / name, data)
    return [folder / name for name in contents]
