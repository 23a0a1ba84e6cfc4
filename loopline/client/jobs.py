"""`client.job`: labeling jobs and labels, through annotate's public API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loopline.client.session import Session
from loopline.errors import Rejected
from loopline.names import validate_name

BULK = 500  # items per request


Json = dict[str, Any]
JsonList = list[Json]  # within the class, `list` is the method


class JobVerbs:
    """What can be done with labeling jobs.

    Answers are the JSON of annotate's API (docs/labeling.md).
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    async def list(self) -> JsonList:
        """Return every job with its progress."""
        return list((await self._call("GET", "/v1/jobs"))["jobs"])

    async def get(self, job: str) -> dict[str, Any]:
        """Return one job; NotFound if there is none of that name."""
        return await self._call("GET", f"/v1/jobs/{validate_name('job', job)}")

    async def items(self, job: str, state: str = "") -> JsonList:
        """Return a job's items with predictions and labels; only those in `state` if named."""
        path = f"/v1/jobs/{validate_name('job', job)}/items"
        items: JsonList = []
        cursor = ""
        while True:
            query = {"limit": str(BULK), "state": state, "cursor": cursor}
            page = await self._call("GET", path, params={k: v for k, v in query.items() if v})
            items.extend(page["items"])
            cursor = page["next_cursor"] or ""
            if not cursor:
                return items

    async def image(self, asset: str) -> bytes:
        """Return the bytes of an image of a job."""
        session = self._session
        url = session.settings.annotate_http
        return (await session.http(url, "GET", f"/v1/assets/{asset}")).content

    async def label(
        self,
        job: str,
        asset: str,
        shapes: Sequence[Mapping[str, Any]],
        *,
        labeler: str = "",
        spent_s: float = 0.0,
    ) -> dict[str, Any]:
        """Submit all annotations of one item: `[{"class_name": "coat"}]`."""
        body = {
            "labeler": labeler or self._session.settings.user,
            "shapes": list(shapes),
            "spent_s": spent_s,
        }
        return await self._call("POST", f"/v1/jobs/{job}/items/{asset}/labels", json=body)

    async def label_many(
        self, job: str, labels: Mapping[str, Sequence[Mapping[str, Any]]], *, labeler: str = ""
    ) -> int:
        """Submit the annotations of many items, by asset; return how many were taken.

        Raises:
            Rejected: Some were refused; the message has the first reason, the others were taken.
        """
        by = labeler or self._session.settings.user
        entries = [{"asset": asset, "shapes": list(shapes)} for asset, shapes in labels.items()]
        for start in range(0, len(entries), BULK):
            body = {"labeler": by, "labels": entries[start : start + BULK]}
            answer = await self._call("POST", f"/v1/jobs/{job}/labels", json=body)
            if refused := answer["refused"]:
                raise Rejected(
                    f"{len(refused)} of {len(entries)} labels were refused: {refused[0]} first",
                    job=job,
                )
        return len(entries)

    async def open(self, job: str, dataset: str, **options: Any) -> dict[str, Any]:
        """Open a job over items of a dataset version.

        Args:
            job: Its name.
            dataset: "catalogue", "catalogue@v3".
            **options: The other fields of `POST /v1/jobs` (docs/labeling.md): `items` or `where`,
                `classes`, `shapes`, `review`, `labelers_per_item`, ...
        """
        body = {"job": job, "dataset": dataset, "actor": self._session.settings.user, **options}
        return await self._call("POST", "/v1/jobs", json=body)

    async def change(self, job: str, **changes: Any) -> dict[str, Any]:
        """Ask other people, or by another date, or more urgently.

        Args:
            job: The job.
            **changes: `labelers`, `reviewers`, `deadline` (RFC 3339; "" for none any more),
                `priority`, `instructions`.
        """
        body = {"actor": self._session.settings.user, **changes}
        return await self._call("PATCH", f"/v1/jobs/{validate_name('job', job)}", json=body)

    async def item(self, job: str, asset: str) -> dict[str, Any]:
        """Return one item of a job."""
        return await self._call("GET", f"/v1/jobs/{validate_name('job', job)}/items/{asset}")

    async def history(self, job: str, asset: str = "") -> JsonList:
        """Return what became of a job, or what was said of one of its items, oldest first."""
        path = f"/v1/jobs/{validate_name('job', job)}"
        path += f"/items/{asset}/history" if asset else "/history"
        return list((await self._call("GET", path))["history"])

    async def start(self, job: str) -> dict[str, Any]:
        """Start a job that waits to be started."""
        body = {"labeler": self._session.settings.user}
        return await self._call("POST", f"/v1/jobs/{validate_name('job', job)}/start", json=body)

    async def stop(self, job: str, *, keep_labels: bool = True) -> dict[str, Any]:
        """Stop a job: nothing more can be submitted; the labels made so far are kept, or not."""
        body = {"actor": self._session.settings.user, "keep_labels": keep_labels}
        return await self._call("POST", f"/v1/jobs/{validate_name('job', job)}/stop", json=body)

    async def reopen(self, job: str, assets: Sequence[str] = ()) -> dict[str, Any]:
        """Open a job again that is over; these items, or all, go back to the queue."""
        body = {"actor": self._session.settings.user, "assets": [*assets]}
        return await self._call("POST", f"/v1/jobs/{validate_name('job', job)}/reopen", json=body)

    async def take(
        self, job: str, count: int = 1, *, labeler: str = "", review: bool = False
    ) -> JsonList:
        """Take items to label, or to review; nobody else gets them meanwhile."""
        body = {"labeler": labeler or self._session.settings.user, "count": count}
        step = "review/next" if review else "next"
        path = f"/v1/jobs/{validate_name('job', job)}/{step}"
        return list((await self._call("POST", path, json=body))["items"])

    async def review(
        self,
        job: str,
        asset: str,
        verdict: str,
        *,
        labels_version: int,
        comment: str = "",
        reviewer: str = "",
    ) -> dict[str, Any]:
        """Say "accepted" or "rejected" of an item's labels, of the version that was looked at."""
        body = {
            "verdict": verdict,
            "labels_version": labels_version,
            "comment": comment,
            "reviewer": reviewer or self._session.settings.user,
        }
        return await self._call("POST", f"/v1/jobs/{job}/items/{asset}/review", json=body)

    async def wrong(
        self, job: str, *, kind: str = "", class_name: str = "", confidence_min: float = 0.0
    ) -> JsonList:
        """Return where the model that labelers were shown was wrong.

        Args:
            job: The job.
            kind: Only "class", "missed", "invented" or "moved".
            class_name: Only where this class was predicted or is said.
            confidence_min: Only what the model was at least this sure of, and what it missed.
        """
        path = f"/v1/jobs/{validate_name('job', job)}/wrong"
        query = {"kind": kind, "class_name": class_name, "confidence_min": str(confidence_min)}
        found: JsonList = []
        cursor = ""
        while True:
            asked = {**query, "limit": str(BULK), "cursor": cursor}
            page = await self._call("GET", path, params={k: v for k, v in asked.items() if v})
            found.extend(page["wrong"])
            cursor = page["next_cursor"] or ""
            if not cursor:
                return found

    async def labelers(self, job: str) -> dict[str, Any]:
        """Return how each labeler does, against the truth and against each other."""
        return await self._call("GET", f"/v1/jobs/{validate_name('job', job)}/labelers")

    async def predict(self, job: str, model: str, *, confidence_min: float = 0.0) -> dict[str, Any]:
        """Ask a deployed model about every item that waits for labels; returns at once."""
        body = {"model": model, "confidence_min": confidence_min}
        return await self._call("POST", f"/v1/jobs/{validate_name('job', job)}/predict", json=body)

    async def preannotation(self, job: str) -> dict[str, Any]:
        """Return how far a model was asked about a job's items."""
        return await self._call("GET", f"/v1/jobs/{validate_name('job', job)}/predict")

    async def notifications(self, job: str) -> JsonList:
        """Return what became of telling others of a job, the latest first."""
        path = f"/v1/jobs/{validate_name('job', job)}/notifications"
        return list((await self._call("GET", path))["notifications"])

    async def redeliver(self, job: str, *, version: int = 0, receiver: str = "") -> dict[str, Any]:
        """Tell one or every receiver of a job's commit (the last one for 0) again."""
        path = f"/v1/jobs/{validate_name('job', job)}/notifications/redeliver"
        return await self._call("POST", path, json={"version": version, "receiver": receiver})

    async def _call(self, method: str, path: str, **kwargs: Any) -> dict[str, Any]:
        session = self._session
        response = await session.http(session.settings.annotate_http, method, path, **kwargs)
        answer: dict[str, Any] = response.json()
        return answer
