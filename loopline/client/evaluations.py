"""`client.evaluation`: how good model versions are, and which of two is better."""

from __future__ import annotations

from loopline.client.datasets import DatasetVerbs
from loopline.client.models import ModelVerbs
from loopline.client.refs import parse_ref, show_ref
from loopline.client.session import CommandResult, Session, Told
from loopline.contracts import (
    ArtefactKind,
    EvaluateModel,
    EvaluationCommitted,
    QuantizeModel,
    catalog,
)
from loopline.contracts.catalog import DEFAULT_POOL
from loopline.errors import NotFound
from loopline.evaluation.report import Comparison, Report
from loopline.reports.card import Facts
from loopline.reports.card import render as render_card
from loopline.store.commits import Committed
from loopline.store.evaluations import CONFIDENCE, RESAMPLES, Evaluated, Evaluations, data_of
from loopline.store.objects import Area

EvaluationVersions = list[Committed[EvaluationCommitted]]  # within the class, `list` is the method


class EvaluationVerbs:
    """What can be measured. Versions are written `catalogue@v2`, `catalogue@champion`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._models = ModelVerbs(session)
        self._datasets = DatasetVerbs(session)

    @property
    def _evaluations(self) -> Evaluations:
        return Evaluations(self._session.log, self._session.objects)

    async def run(
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
        command = EvaluateModel(
            model=(await self._models.get(model)).ref,
            dataset=(await self._datasets.get(dataset)).ref,
            split=split,
            actor=self._session.actor,
        )
        return await self._session.command(
            catalog.EVALUATE_MODEL, command, wait=wait, told=told, pool=pool
        )

    async def quantize(
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
        command = QuantizeModel(
            model=(await self._models.get(model)).ref,
            dataset=(await self._datasets.get(dataset)).ref if dataset else None,
            calibration_images=calibration_images,
            actor=self._session.actor,
        )
        return await self._session.command(
            catalog.QUANTIZE_MODEL, command, wait=wait, told=told, pool=pool
        )

    async def list(self, model: str) -> EvaluationVersions:
        """Return the evaluations of all versions of a model that were asked for, newest first."""
        ref, _ = parse_ref(model, ArtefactKind.ARTEFACT_KIND_MODEL)
        history = await self._session.log.history(catalog.EVALUATION_COMMITTED, model=ref.name)
        return history[::-1]

    async def report(self, model: str, dataset: str = "", split: str = "") -> Report:
        """Return the newest report of a version, of this dataset version and split if named.

        Raises:
            NotFound: It was not measured on that.
        """
        found = await self._newest(model, dataset, split)
        data = await self._session.objects.get(Area.REPORTS, found.evaluation.report_digest)
        return Report.model_validate_json(data)

    async def page(self, model: str, dataset: str = "", split: str = "") -> bytes:
        """Return that report as one HTML page; NotFound as for `report`."""
        found = await self._newest(model, dataset, split)
        if not found.evaluation.page_digest:
            raise NotFound(f"the evaluation of {model} has no page; measure it again", model=model)
        return await self._session.objects.get(Area.REPORTS, found.evaluation.page_digest)

    async def compare(
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
        one, other = await self._models.get(a), await self._models.get(b)
        return await self._evaluations.compare(
            one.message, other.message, resamples=resamples, confidence=confidence, seed=seed
        )

    async def card(self, model: str) -> str:
        """Return the model card of a version: Markdown."""
        version = await self._models.get(model)
        trained_on = data_of(version.message)
        datasets = self._session.datasets
        dataset = (await datasets.version(trained_on)).message if trained_on else None
        heads = await self._models.aliases(version.ref.name)
        aliases = [h.message.alias for h in heads if h.message.target.digest == version.ref.digest]
        own = list(version.message.evaluations)
        report = None
        if own:
            data = await self._session.objects.get(Area.REPORTS, own[0].report_digest)
            report = Report.model_validate_json(data)
        facts = Facts(version.message, report, dataset, sorted(aliases), version.sequence)
        return render_card(facts)

    async def _newest(self, model: str, dataset: str, split: str) -> Evaluated:
        version = await self._models.get(model)
        wanted = (await self._datasets.get(dataset)).ref.digest if dataset else ""
        for found in await self._evaluations.of(version.message):
            if wanted in ("", found.dataset.digest) and split in ("", found.evaluation.split):
                return found
        on = f" on {dataset}" if dataset else ""
        of = f", split {split}" if split else ""
        raise NotFound(f"{show_ref(version.ref)} was not measured{on}{of}", model=model)
