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

    async def stop(self, job: str, *, keep_labels: bool = True) -> dict[str, Any]:
        """Stop a job: nothing more can be submitted; the labels made so far are kept, or not."""
        body = {"actor": self._session.settings.user, "keep_labels": keep_labels}
        return await self._call("POST", f"/v1/jobs/{validate_name('job', job)}/stop", json=body)

    async def _call(self, method: str, path: str, **kwargs: Any) -> dict[str, Any]:
        session = self._session
        response = await session.http(session.settings.annotate_http, method, path, **kwargs)
        answer: dict[str, Any] = response.json()
        return answer
