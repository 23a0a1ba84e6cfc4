"""The whole loop, told from the log of a platform that ran it: on real images, to its second model.

Its world is the one that the fault tests compare theirs with (`tests.chaos.fixtures`).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from loopline.contracts import RunKind, Verdict, catalog
from loopline.store.commits import Committed
from tests.chaos.fixtures import Undisturbed
from tests.chaos.scene import ASKED, CLASSES, PER_CLASS, small_scene
from tests.chaos.story import CALIBRATED_WITH, COPIES, JOB, REJECTED, REVIEWED
from tests.chaos.world import Told

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

IMAGES = {part: count * len(CLASSES) for part, count in PER_CLASS.items()}


@pytest.fixture
def told(undisturbed: Undisturbed) -> Told:
    return undisturbed.told


def versions(told: Told, dataset: str) -> list[Committed[Any]]:
    """Return the versions of a dataset, oldest first."""
    return [v for v in told.committed(catalog.DATASET_COMMITTED) if v.ref.name == dataset]


def test_import_keeps_what_is_good_and_drops_what_is_planted_with_its_reason(told: Told) -> None:
    summary = told.summary
    assert summary.items["items"] == IMAGES["labeled"] + IMAGES["test"] + IMAGES["unlabeled"]
    assert summary.items["labeled"] == IMAGES["labeled"] + IMAGES["test"]
    assert summary.items["split:test"] == IMAGES["test"]
    assert summary.drops == summary.planted
    assert {"corrupt", "exact_duplicate", "near_duplicate", "too_small"} <= set(summary.drops)


def test_every_artefact_has_the_versions_that_the_story_made(told: Told) -> None:
    counts = {
        event.key: len(told.committed(event))
        for event in (
            catalog.FLOW_COMMITTED,
            catalog.DATASET_COMMITTED,
            catalog.MODEL_COMMITTED,
            catalog.ALIAS_MOVED,
            catalog.PREDICTIONS_COMMITTED,
            catalog.DELIVERY_COMMITTED,
            catalog.EVALUATION_COMMITTED,
            catalog.REPRODUCTION_COMMITTED,
        )
    }
    assert counts == {
        "flow_committed": 1,
        "dataset_committed": 5,  # of the loop; copies, and copies reviewed; what was asked
        "model_committed": 3,  # of the loop; in 8 bit integers
        "alias_moved": 2,
        "predictions_committed": 2,
        "delivery_committed": 2,
        "evaluation_committed": 1,
        "reproduction_committed": 1,
    }


def test_each_model_is_promoted_and_has_its_metrics(told: Told) -> None:
    models = told.committed(catalog.MODEL_COMMITTED)[:2]
    moved = told.committed(catalog.ALIAS_MOVED)
    assert [each.message.target.digest for each in moved] == [m.ref.digest for m in models]
    for model in models:
        [evaluation] = [e for e in model.message.evaluations if e.split == "test"]
        assert {"accuracy", "macro_f1", "macro_precision", "macro_recall"} <= set(
            evaluation.metrics
        )
        assert evaluation.count == IMAGES["test"]
        assert evaluation.metrics["accuracy"] > 1.5 / len(CLASSES)  # it has learned something
    assert len({m.message.evaluations[0].split_digest for m in models}) == 1


def test_every_selected_item_is_delivered_or_relabeled(told: Told) -> None:
    predicted = told.committed(catalog.PREDICTIONS_COMMITTED)
    for predictions, delivery in zip(
        predicted, told.committed(catalog.DELIVERY_COMMITTED), strict=True
    ):
        message, figures = delivery.message, delivery.commit.run.figures
        assert message.delivered > 0
        assert message.unrouted == figures["over_limit"]  # one job takes no more than its limit
        routed = message.delivered + message.relabeled + message.unrouted
        assert routed == predictions.message.selected == figures["selected"]
    assert predicted[0].message.selected == IMAGES["unlabeled"]


def test_labelers_corrections_are_the_second_version(told: Told) -> None:
    limit = small_scene().relabel_limit
    first, second = versions(told, small_scene().name)
    said = [each for item, each in told.outcome.labels.items() if not item.startswith(JOB)]
    assert len(said) == told.summary.relabeled == limit
    assert {labeler for each in said for labeler, _ in each} == {"ada", "grace"}
    before, after = (each.message.statistics for each in (first, second))
    assert after["items"] == before["items"]
    assert after["labeled"] == before["labeled"] + limit
    assert after["labeled:test"] == before["labeled:test"]


def test_the_first_model_is_reproduced_bit_by_bit(told: Told) -> None:
    [reproduction] = told.committed(catalog.REPRODUCTION_COMMITTED)
    assert reproduction.message.model.version == 1
    assert reproduction.message.is_identical


def test_the_quantized_version_is_measured_and_not_promoted(told: Told) -> None:
    first, _, int8 = told.committed(catalog.MODEL_COMMITTED)
    assert int8.commit.run.kind == RunKind.RUN_KIND_QUANTIZE
    assert int8.commit.run.parameters["calibration_images"] == CALIBRATED_WITH
    [own] = [e for e in first.message.evaluations if e.split == "test"]
    [again] = told.committed(catalog.EVALUATION_COMMITTED)
    assert again.message.evaluation.metrics["accuracy"] == own.metrics["accuracy"]
    assert again.message.evaluation.count == IMAGES["test"]


def test_copies_are_items_with_their_parents_labels(told: Told) -> None:
    copies, reviewed = versions(told, COPIES)
    before, after = (each.message.statistics for each in (copies, reviewed))
    original = versions(told, small_scene().name)[0].message.statistics
    assert 0 < original["labeled:train"] < IMAGES["labeled"]  # some are set aside
    for count in ("items", "labeled", "labeled:train"):
        assert before[count] == original[count] + original["labeled:train"]
    assert after["labeled"] == before["labeled"] + REVIEWED


def test_what_a_reviewer_sent_back_was_labeled_again(told: Told) -> None:
    said = {item: each for item, each in told.outcome.labels.items() if item.startswith(JOB)}
    assert sorted(map(len, said.values())) == [1] * (REVIEWED - 1) + [REJECTED + 1]
    verdicts = Counter(review.message.verdict for review in told.committed(catalog.ITEM_REVIEWED))
    assert verdicts == {Verdict.VERDICT_ACCEPTED: REVIEWED, Verdict.VERDICT_REJECTED: REJECTED}


def test_a_recorded_request_is_an_item(told: Told) -> None:
    [asked] = versions(told, ASKED)
    assert asked.message.statistics["items"] == 1


def test_a_client_that_is_not_ours_was_answered(told: Told) -> None:
    assert told.summary.client_answer["class"] in CLASSES
    assert told.summary.client_answer["model_version"] == "1"


def test_told_again_everything_is_recognised_and_nothing_made_anew(told: Told) -> None:
    assert told.again is not None
    assert told.after is not None
    assert told.again.nothing_recomputed
    assert told.again.models == told.summary.models
    assert told.again.delivered == told.summary.delivered
    assert not told.after.differences(told.outcome)


def test_every_delivered_object_is_proven(told: Told) -> None:
    assert told.proven.ok, told.proven.problems
    assert told.proven.objects + told.proven.manifests == len(told.outcome.delivered)
    first, second = told.committed(catalog.DELIVERY_COMMITTED)
    assert first.message.delivered <= told.proven.objects == second.message.tree.count


def test_what_is_stored_is_whole_and_nothing_died(told: Told) -> None:
    assert told.checked.ok
    assert told.outcome.dead == 0
    assert not told.deaths
    assert told.attempts == 1
