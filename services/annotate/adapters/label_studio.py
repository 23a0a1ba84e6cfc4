"""The bridge to a Label Studio server: a job's items as tasks there, annotations back as labels.

A job is a project of the same title. Tasks carry the image itself (a data URI: no second door to
the images) or a signed link to it, the asset's digest, and what the dataset says of it or a model
predicted. Annotations come back by webhook as they are made, and by `pull` where a webhook was
lost: the same twice is one submission.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx
from pydantic import SecretStr

from loopline.errors import LooplineError, NotFound, Rejected, Transient, Unauthenticated
from loopline.formats.label_studio import labeling_config, result_of, shapes_of_result
from loopline.store.items import Shape
from loopline.store.objects import Area, ObjectStore
from services.annotate.adapters.image_links import ImageLinks
from services.annotate.adapters.items import ItemRows, JobItem
from services.annotate.adapters.reader import Job
from services.annotate.adapters.submissions import Proposal

TASKS_AT_ONCE = 20  # images travel within
PAGE = 100
TIMEOUT_S = 30.0
SECRET_HEADER = "X-Loopline-Secret"  # noqa: S105 - a header's name
ACTIONS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED")
LABELER = "label-studio"
DETAIL_LENGTH_MAX = 300

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pushed:
    """A job that can be worked there.

    Attributes:
        project: The project's number.
        url: Where people work.
        tasks: Items that are there.
        added: How many of them are new.
    """

    project: int
    url: str
    tasks: int
    added: int


class LabelStudio:
    """One Label Studio server.

    Args:
        url: Where it answers; "" for none.
        token: A user's access token there ("Legacy Tokens" must be on).
        secret: What its webhooks show here.
        objects: Where the images are.
        rows: The items of jobs.
        links: Makes links to images; tasks carry the images themselves if None.
        transport: How requests travel; the network if None.
    """

    def __init__(
        self,
        url: str,
        token: SecretStr,
        secret: SecretStr,
        objects: ObjectStore,
        rows: ItemRows,
        links: ImageLinks | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._secret = secret.get_secret_value()
        self._objects = objects
        self._rows = rows
        self.links = links
        headers = {"authorization": f"Token {token.get_secret_value()}"}
        self._client = httpx.AsyncClient(
            base_url=self._url, headers=headers, timeout=TIMEOUT_S, trust_env=False,
            transport=transport,
        )  # fmt: skip

    async def close(self) -> None:
        """Let connections go."""
        await self._client.aclose()

    async def push(self, job: Job, callback_url: str) -> Pushed:
        """Make the job's project if it is not there, and tasks of the items that are not in it.

        Args:
            job: The job, its items there.
            callback_url: Where its webhook calls back; "" for none.

        Raises:
            Transient: The server does not answer.
            Rejected: None is configured, or it refuses.
        """
        project = await self._project(job, callback_url)
        there = {str(task["data"].get("asset")) async for task in self._tasks(project)}
        added, after = 0, -1
        while page := await self._rows.page(
            job.name, state="todo", now_s=0.0, after=after, limit=TASKS_AT_ONCE
        ):
            after = page[-1].position
            new = [item for item in page if item.asset not in there]
            if new:
                tasks = await self._made(job, new)
                await self._ask("POST", f"/api/projects/{project}/import", json=tasks)
                added += len(new)
        url = f"{self._url}/projects/{project}/data"
        return Pushed(project, url, len(there) + added, added)

    async def pull(self, job: Job) -> list[Proposal]:
        """Return the last annotation of every task of the job's project."""
        project = await self._find(job.name)
        if project is None:
            raise NotFound(f"job {job.name} has no project in Label Studio", job=job.name)
        proposals = []
        async for task in self._tasks(project):
            kept = [a for a in task.get("annotations") or [] if not a.get("was_cancelled")]
            if kept:
                last = max(kept, key=lambda a: (str(a.get("updated_at") or ""), a.get("id") or 0))
                proposals.append(await self._proposal(job, task, last))
        return proposals

    def check_secret(self, given: str) -> None:
        """Refuse calls that do not come from the server's webhook.

        Raises:
            Unauthenticated: The secret is not shown, or none is configured.
        """
        if not self._secret or not secrets.compare_digest(given.encode(), self._secret.encode()):
            raise Unauthenticated(f"the header {SECRET_HEADER} does not show the webhook's secret")

    async def heard(self, job: Job, event: Mapping[str, Any]) -> Proposal | None:
        """Return the labels that a webhook tells of; None if it tells of something else.

        Raises:
            Rejected: It cannot be, or is of no item of the job.
        """
        if event.get("action") not in ACTIONS:
            return None
        annotation, task = event.get("annotation"), event.get("task")
        if not isinstance(annotation, dict) or not isinstance(task, dict):
            raise Rejected("the event has no annotation or no task")
        if annotation.get("was_cancelled"):
            return None
        return await self._proposal(job, task, annotation)

    async def _proposal(
        self, job: Job, task: Mapping[str, Any], annotation: Mapping[str, Any]
    ) -> Proposal:
        data = task.get("data")
        asset = str(data.get("asset")) if isinstance(data, dict) else ""
        item = (await self._rows.get(job.name, [asset])).get(asset)
        if item is None:
            raise NotFound(f"task {task.get('id')} is of no item of job {job.name}", job=job.name)
        result = annotation.get("result")
        if not isinstance(result, list) or not all(isinstance(r, dict) for r in result):
            raise Rejected(f"task {task.get('id')}: its annotation has no result")
        shapes = shapes_of_result(result, item.width_px, item.height_px)
        known = {shape.id for shape in item.predicted or ()}
        made = tuple(
            # A region that came from a prediction keeps its id.
            shape if shape.id not in known else _edit(shape)
            for shape in shapes
        )
        spent_s = float(annotation.get("lead_time") or 0.0)
        return Proposal(asset, _labeler(annotation), made, max(spent_s, 0.0))

    async def _project(self, job: Job, callback_url: str) -> int:
        found = await self._find(job.name)
        if found is not None:
            return found
        asked = job.specification
        config = labeling_config(list(asked.classes), list(asked.shapes))
        body = {
            "title": job.name,
            "description": f"Loopline job {job.name} over {asked.dataset.name}",
            "label_config": config,
            "expert_instruction": asked.instructions,
            "show_instruction": bool(asked.instructions),
            "maximum_annotations": job.options.labelers_per_item,
        }
        project = int((await self._ask("POST", "/api/projects/", json=body))["id"])
        if callback_url:
            hook = {
                "project": project,
                "url": callback_url,
                "send_payload": True,
                "send_for_all_actions": False,
                "headers": {SECRET_HEADER: self._secret},
                "actions": list(ACTIONS),
            }
            await self._ask("POST", "/api/webhooks/", json=hook)
        return project

    async def _find(self, title: str) -> int | None:
        page = await self._ask("GET", "/api/projects/", params={"title": title, "page_size": PAGE})
        rows = page["results"] if isinstance(page, dict) else page
        return next((int(row["id"]) for row in rows if row["title"] == title), None)

    async def _tasks(self, project: int) -> AsyncIterator[Json]:
        number = 1
        while True:
            query = {"project": project, "page": number, "page_size": PAGE, "fields": "all"}
            page = await self._ask("GET", "/api/tasks/", params=query)
            for task in page["tasks"]:
                yield task
            if number * PAGE >= int(page["total"]):
                return
            number += 1

    async def _made(self, job: Job, items: Sequence[JobItem]) -> list[Json]:
        if self.links is not None:
            return [_task(job, item, self.links.link(item.asset)) for item in items]
        images = await self._objects.get_many(Area.ASSETS, [item.asset for item in items])
        return [
            _task(job, item, _data_uri(item.media_type, data))
            for item, data in zip(items, images, strict=True)
        ]

    async def _ask(self, method: str, path: str, **kwargs: Any) -> Any:
        if not self._url:
            raise Rejected("no Label Studio is configured (LOOPLINE_LABEL_STUDIO_URL)")
        try:
            answer = await self._client.request(method, path, **kwargs)
        except httpx.HTTPError as error:
            raise Transient(f"Label Studio: {type(error).__name__}: {error}") from error
        if answer.is_error:
            raise _refused(answer)
        return answer.json() if answer.content else {}


def _refused(answer: httpx.Response) -> LooplineError:
    detail = f"Label Studio: HTTP {answer.status_code} {answer.text[:DETAIL_LENGTH_MAX]}"
    return Transient(detail) if answer.status_code >= 500 else Rejected(detail)


def _data_uri(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _task(job: Job, item: JobItem, image: str) -> Json:
    task: Json = {
        "data": {
            "image": image,
            "asset": item.asset,
            "job": job.name,
            "width": item.width_px,
            "height": item.height_px,
        }
    }
    begun = item.existing or item.predicted
    if begun is not None:
        dataset = job.specification.dataset
        by = f"{dataset.name}@v{dataset.version}" if item.existing else item.predicted_by[:12]
        result = result_of(begun, item.width_px, item.height_px)
        prediction: Json = {"result": result, "model_version": by}
        if sure := [shape.confidence for shape in begun if shape.confidence is not None]:
            prediction["score"] = min(sure)
        task["predictions"] = [prediction]
    return task


def _edit(shape: Shape) -> Shape:
    return replace(shape, edited_from=shape.id)


def _labeler(annotation: Mapping[str, Any]) -> str:
    by = annotation.get("completed_by")
    if isinstance(by, dict):
        by = by.get("email") or by.get("id")
    return f"{LABELER}:{by}" if by else LABELER
