"""What reviewers say of an item's labels, committed: accepted, or back to the queue."""

from __future__ import annotations

from dataclasses import dataclass

from loopline.contracts import (
    ArtefactKind,
    ArtefactRef,
    Commit,
    ItemReviewed,
    RunKind,
    Verdict,
    catalog,
)
from loopline.digests import digest_of
from loopline.store.commits import CommitLog, Committed, Unchanged
from services.annotate.adapters.provenance import Provenance, as_role, person
from services.annotate.adapters.submissions import OpenJob
from services.annotate.domain.work import check_person, check_reviewable

COMMENT_LENGTH_MAX = 5_000  # characters


@dataclass(frozen=True, slots=True)
class Review:
    """What a reviewer says of an item.

    Attributes:
        labels_version: The last version of the item's labels that the reviewer saw.
    """

    asset: str
    reviewer: str
    accepted: bool
    comment: str
    labels_version: int
    spent_s: float = 0.0


class Reviews:
    """Takes reviews in."""

    def __init__(self, log: CommitLog, provenance: Provenance) -> None:
        self._log = log
        self._provenance = provenance

    async def submit(self, job: OpenJob, review: Review) -> Committed[ItemReviewed]:
        """Commit a review; the same again changes nothing.

        Raises:
            NotFound: The asset is not in the job.
            Forbidden: Others are asked to review.
            Rejected: There is nothing to review, or its labels were replaced meanwhile.
        """
        check_person(job.name, "review", job.options.reviewers, review.reviewer)
        item = job.item(review.asset)

        async def build(head: Committed[ItemReviewed] | None) -> ItemReviewed:
            if head is not None and _same(head, review):
                raise Unchanged(f"{review.asset} was reviewed like this")
            check_reviewable(item.result, review.labels_version, review.asset)
            return self._message(job, review, head.ref.version if head is not None else 0)

        tokens = {"job": job.name, "asset": review.asset}
        return await self._log.commit(catalog.ITEM_REVIEWED, build, **tokens)

    def _message(self, job: OpenJob, review: Review, follows: int) -> ItemReviewed:
        word = "accepted" if review.accepted else "rejected"
        said = {
            "asset": review.asset,
            "reviewer": review.reviewer,
            "verdict": word,
            "comment": review.comment,
            "labels_version": review.labels_version,
        }
        parameters = {**said, "follows": follows}
        opened = as_role(job.commit.ref, "job")
        run = self._provenance.run(
            RunKind.RUN_KIND_EDIT, [opened], parameters, person(review.reviewer)
        )
        kind, name = ArtefactKind.ARTEFACT_KIND_REVIEW, f"{job.name}/{review.asset}"
        verdict = Verdict.VERDICT_ACCEPTED if review.accepted else Verdict.VERDICT_REJECTED
        summary = f"{word} by {review.reviewer}" + (f": {review.comment}" if review.comment else "")
        return ItemReviewed(
            commit=Commit(
                artefact=ArtefactRef(kind=kind, name=name, digest=digest_of(said)),
                run=run,
                summary=summary[:200],
            ),
            job=job.name,
            asset=review.asset,
            reviewer=review.reviewer,
            verdict=verdict,
            comment=review.comment,
            labels_version=review.labels_version,
            spent_s=review.spent_s,
        )


def _same(head: Committed[ItemReviewed], review: Review) -> bool:
    said = head.message
    verdict = Verdict.VERDICT_ACCEPTED if review.accepted else Verdict.VERDICT_REJECTED
    return (said.labels_version, said.verdict, said.reviewer, said.comment) == (
        review.labels_version,
        verdict,
        review.reviewer,
        review.comment,
    )
