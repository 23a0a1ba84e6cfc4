"""`client.job`: labeling jobs and labels, through annotate's public API.

Generated from `loopline.client.jobs` by `python -m loopline.client.generate`; do not edit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loopline.client import jobs as _jobs
from loopline.client.jobs import JsonList
from loopline.client.portal import Portal


class JobVerbs:
    """What can be done with labeling jobs."""

    def __init__(self, portal: Portal, client: _jobs.JobVerbs) -> None:
        self._portal = portal
        self._client = client

    def list(self) -> JsonList:
        """Return every job with its progress."""
        return self._portal.call(self._client.list())

    def get(self, job: str) -> dict[str, Any]:
        """Return one job; NotFound if there is none of that name."""
        return self._portal.call(self._client.get(job))

    def items(self, job: str, state: str = "") -> JsonList:
        """Return a job's items with predictions and labels; only those in `state` if named."""
        return self._portal.call(self._client.items(job, state))

    def image(self, asset: str) -> bytes:
        """Return the bytes of an image of a job."""
        return self._portal.call(self._client.image(asset))

    def label(
        self,
        job: str,
        asset: str,
        shapes: Sequence[Mapping[str, Any]],
        *,
        labeler: str = "",
        spent_s: float = 0.0,
    ) -> dict[str, Any]:
        """Submit all annotations of one item: `[{"class_name": "coat"}]`."""
        return self._portal.call(
            self._client.label(job, asset, shapes, labeler=labeler, spent_s=spent_s)
        )

    def label_many(
        self, job: str, labels: Mapping[str, Sequence[Mapping[str, Any]]], *, labeler: str = ""
    ) -> int:
        """Submit the annotations of many items, by asset; return how many were taken.

        Raises:
            Rejected: Some were refused; the message has the first reason, the others were taken.
        """
        return self._portal.call(self._client.label_many(job, labels, labeler=labeler))

    def open(self, job: str, dataset: str, **options: Any) -> dict[str, Any]:
        """Open a job over items of a dataset version.

        Args:
            job: Its name.
            dataset: "catalogue", "catalogue@v3".
            **options: The other fields of `POST /v1/jobs` (docs/labeling.md): `items` or `where`,
                `classes`, `shapes`, `review`, `labelers_per_item`, ...
        """
        return self._portal.call(self._client.open(job, dataset, **options))

    def change(self, job: str, **changes: Any) -> dict[str, Any]:
        """Ask other people, or by another date, or more urgently.

        Args:
            job: The job.
            **changes: `labelers`, `reviewers`, `deadline` (RFC 3339; "" for none any more),
                `priority`, `instructions`.
        """
        return self._portal.call(self._client.change(job, **changes))

    def item(self, job: str, asset: str) -> dict[str, Any]:
        """Return one item of a job."""
        return self._portal.call(self._client.item(job, asset))

    def history(self, job: str, asset: str = "") -> JsonList:
        """Return what became of a job, or what was said of one of its items, oldest first."""
        return self._portal.call(self._client.history(job, asset))

    def start(self, job: str) -> dict[str, Any]:
        """Start a job that waits to be started."""
        return self._portal.call(self._client.start(job))

    def stop(self, job: str, *, keep_labels: bool = True) -> dict[str, Any]:
        """Stop a job: nothing more can be submitted; the labels made so far are kept, or not."""
        return self._portal.call(self._client.stop(job, keep_labels=keep_labels))

    def reopen(self, job: str, assets: Sequence[str] = ()) -> dict[str, Any]:
        """Open a job again that is over; these items, or all, go back to the queue."""
        return self._portal.call(self._client.reopen(job, assets))

    def take(
        self, job: str, count: int = 1, *, labeler: str = "", review: bool = False
    ) -> JsonList:
        """Take items to label, or to review; nobody else gets them meanwhile."""
        return self._portal.call(self._client.take(job, count, labeler=labeler, review=review))

    def review(
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
        return self._portal.call(
            self._client.review(
                job,
                asset,
                verdict,
                labels_version=labels_version,
                comment=comment,
                reviewer=reviewer,
            )
        )

    def wrong(
        self, job: str, *, kind: str = "", class_name: str = "", confidence_min: float = 0.0
    ) -> JsonList:
        """Return where the model that labelers were shown was wrong.

        Args:
            job: The job.
            kind: Only "class", "missed", "invented" or "moved".
            class_name: Only where this class was predicted or is said.
            confidence_min: Only what the model was at least this sure of, and what it missed.
        """
        return self._portal.call(
            self._client.wrong(job, kind=kind, class_name=class_name, confidence_min=confidence_min)
        )

    def labelers(self, job: str) -> dict[str, Any]:
        """Return how each labeler does, against the truth and against each other."""
        return self._portal.call(self._client.labelers(job))

    def predict(self, job: str, model: str, *, confidence_min: float = 0.0) -> dict[str, Any]:
        """Ask a deployed model about every item that waits for labels; returns at once."""
        return self._portal.call(self._client.predict(job, model, confidence_min=confidence_min))

    def preannotation(self, job: str) -> dict[str, Any]:
        """Return how far a model was asked about a job's items."""
        return self._portal.call(self._client.preannotation(job))

    def notifications(self, job: str) -> JsonList:
        """Return what became of telling others of a job, the latest first."""
        return self._portal.call(self._client.notifications(job))

    def redeliver(self, job: str, *, version: int = 0, receiver: str = "") -> dict[str, Any]:
        """Tell one or every receiver of a job's commit (the last one for 0) again."""
        return self._portal.call(self._client.redeliver(job, version=version, receiver=receiver))
