"""Models and tools that help to label."""

from __future__ import annotations

from fastapi import APIRouter

from loopline.access import Caller, Scope
from loopline.errors import Rejected
from services.annotate.adapters import answers, bodies, presenting
from services.annotate.adapters.assist.prompt import Click, Prompt
from services.annotate.domain.jobs import check_accepts_labels
from services.annotate.routes.base import ITEM, Asset, JobName, Routes, worker_of


class Help(Routes):
    """Models and tools that help to label."""

    def add_to(self, router: APIRouter) -> None:
        """See `Routes`."""
        read, label = self.caller(Scope.READ), self.caller(Scope.LABEL)
        operate, service = self.caller(Scope.OPERATE), self._service

        @router.post(ITEM + "/predict")
        async def predict_item(
            job: JobName, asset: Asset, body: bodies.PredictIn, caller: Caller = label
        ) -> answers.PredictedOut:
            """Ask a deployed model about one item; its answer is shown from now on."""
            found = await service.working.open(job, worker_of(caller))
            await service.working.item(found, asset)
            said = await service.models.predict(body.model, [asset], body.confidence_min)
            if asset in said.errors:
                raise Rejected(f"model {body.model}: {said.errors[asset]}")
            shapes = said.shapes[asset]
            if body.keep:
                at = service.now_text()
                await service.desk.suggest(job, [(asset, shapes)], said.model, at)
            return answers.PredictedOut(
                asset=asset,
                model=presenting.artefact_out(said.model),
                shapes=presenting.shapes_out(shapes),
            )

        @router.post("/jobs/{job}/predict", status_code=202, dependencies=[operate])
        async def predict_job(job: JobName, body: bodies.PredictIn) -> answers.PreannotationOut:
            """Ask a deployed model about every item that waits for labels, in the background."""
            found = await service.working.open(job)
            check_accepts_labels(job, found.state)
            return service.preannotation.start(job, body.model, body.confidence_min)

        @router.get("/jobs/{job}/predict", dependencies=[read])
        async def show_preannotation(job: JobName) -> answers.PreannotationOut:
            """Show how far a model was asked about a job's items."""
            await service.working.open(job)
            return service.preannotation.status(job)

        @router.get("/assist/tools", dependencies=[read])
        async def list_tools() -> answers.ToolsOut:
            """List what cuts out of images: built-in tools, and models that users brought."""
            return answers.ToolsOut(tools=service.toolbox.tools())

        @router.post("/assist/mask", dependencies=[label])
        async def cut_mask(body: bodies.MaskIn) -> answers.MaskOut:
            """Cut out what a box or clicks point at."""
            clicks = tuple(Click(point.x, point.y, point.positive) for point in body.points)
            prompt = Prompt(body.bbox_xyxy, clicks)
            return await service.toolbox.cut(body.asset, body.tool, prompt)
