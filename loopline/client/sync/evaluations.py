"""`client.evaluation`: how good model versions are, and which of two is better.

Generated from `loopline.client.evaluations` by `python -m loopline.client.generate`; do not edit.
"""

from __future__ import annotations

from loopline.client import evaluations as _evaluations
from loopline.client.evaluations import EvaluationVersions
from loopline.client.portal import Portal
from loopline.client.session import CommandResult, Told
from loopline.contracts.catalog import DEFAULT_POOL
from loopline.evaluation.report import Comparison, Report
from loopline.store.evaluations import CONFIDENCE, RESAMPLES


class EvaluationVerbs:
    """What can be measured. Versions are written `catalogue@v2`, `catalogue@champion`."""

    def __init__(self, portal: Portal, client: _evaluations.EvaluationVerbs) -> None:
        self._portal = portal
        self._client = client

    def run(
        self,
        model: str,
        dataset: str,
        *,
        split: str = "test",
        wait: bool = True,
        pool: str = DEFAULT_POOL,
        told: Told | None = None,
    ) -> CommandResult:
        """Measure a model version on a split of a dataset version.

        Args:
            model: The version.
            dataset: The dataset version.
            split: "train", "val" or "test".
            wait: Return when the run has ended, else as soon as the command is stored.
            pool: Whose agents take it, or the name of one agent.
            told: Called with each report of the run, while it is waited for.

        Raises:
            Rejected: The command was refused.
            RunFailed: The labels or the network do not fit.
        """
        return self._portal.call(
            self._client.run(model, dataset, split=split, wait=wait, pool=pool, told=told)
        )

    def quantize(
        self,
        model: str,
        dataset: str = "",
        *,
        calibration_images: int = 0,
        wait: bool = True,
        pool: str = DEFAULT_POOL,
        told: Told | None = None,
    ) -> CommandResult:
        """Write a version again in 8 bit integers, as the model's next version, and measure it.

        Args:
            model: The version.
            dataset: What to calibrate and measure with; by default what it was trained on.
            calibration_images: Of the split "train"; 0 is the service's default.
            wait: Return when the run has ended, else as soon as the command is stored.
            pool: Whose agents take it, or the name of one agent.
            told: Called with each report of the run, while it is waited for.

        Raises:
            Rejected: The command was refused.
            RunFailed: The network cannot be quantized.
        """
        return self._portal.call(
            self._client.quantize(
                model,
                dataset,
                calibration_images=calibration_images,
                wait=wait,
                pool=pool,
                told=told,
            )
        )

    def list(self, model: str) -> EvaluationVersions:
        """Return the evaluations of all versions of a model that were asked for, newest first."""
        return self._portal.call(self._client.list(model))

    def report(self, model: str, dataset: str = "", split: str = "") -> Report:
        """Return the newest report of a version, of this dataset version and split if named.

        Raises:
            NotFound: It was not measured on that.
        """
        return self._portal.call(self._client.report(model, dataset, split))

    def page(self, model: str, dataset: str = "", split: str = "") -> bytes:
        """Return that report as one HTML page; NotFound as for `report`."""
        return self._portal.call(self._client.page(model, dataset, split))

    def compare(
        self,
        a: str,
        b: str,
        *,
        resamples: int = RESAMPLES,
        confidence: float = CONFIDENCE,
        seed: int = 0,
    ) -> Comparison:
        """Compare two versions on the frozen split that both were measured on.

        Raises:
            Rejected: There is none.
        """
        return self._portal.call(
            self._client.compare(a, b, resamples=resamples, confidence=confidence, seed=seed)
        )

    def card(self, model: str) -> str:
        """Return the model card of a version: Markdown."""
        return self._portal.call(self._client.card(model))
