"""The page of an evaluation: whole, safe, and nothing fetched."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from loopline.evaluation.classification import evaluate_classification
from loopline.evaluation.detection import evaluate_detection
from loopline.evaluation.images import ImageFacts
from loopline.evaluation.report import WORST_MAX, Report, Speed
from loopline.evaluation.segmentation import SegmentationTally
from loopline.evaluation.training import training_curves
from loopline.reports.page import render, title_of
from tests.unit.evaluation import worlds

SPEED = Speed(
    images_per_s=300,
    network_images_per_s=900,
    p50_ms=1.5,
    p95_ms=2,
    batch=8,
    threads=1,
    device="cpu",
)
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Nesting(HTMLParser):
    """Checks that every element is closed where it was opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href") and value and not value.startswith(("data:", "#")):
                self.fetched.append(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read(page: str) -> Nesting:
    nesting = Nesting()
    nesting.feed(page)
    assert nesting.open == []
    return nesting


def reports() -> dict[str, Report]:
    random = np.random.default_rng(0)
    images = [ImageFacts(f"{n:064}", 48, 40, ("odd",) if n % 2 else ()) for n in range(30)]
    probabilities, targets = worlds.probabilities(random, 30, 12)
    predicted, truth = worlds.boxes(random, 30, 3)
    tally = SegmentationTally(["a", "b"])
    for image, maps in zip(images, worlds.label_maps(random, 30, 2), strict=True):
        tally.add(*maps, np.full((40, 48), 0.9), image)
    names = [f"class {n}" for n in range(12)]
    return {
        "classification": evaluate_classification(probabilities, targets, names, images).report,
        "detection": evaluate_detection(predicted, truth, list("xyz"), images).report,
        "segmentation": tally.finish().report,
    }


@pytest.mark.parametrize("task", ["classification", "detection", "segmentation"])
def test_a_page_is_whole_and_fetches_nothing(task: str) -> None:
    report = reports()[task].model_copy(
        update={"model": "shop@v3", "dataset": "shop@v1", "split": "test", "speed": SPEED}
    )
    page = render(report, {}, lambda rle, width, height: [(0, 0, 5, 0, 5, 5)])
    found = read(page)
    assert found.fetched == []
    assert "<script" not in page
    assert "@import" not in page
    text = " ".join(found.texts)
    for name in report.headline:
        assert title_of(name) in text
        assert f"{report.metrics[name]:.3f}" in text
    assert "shop@v3" in text
    assert "prefers-color-scheme: dark" in page
    assert page.count("<figure>") == len(report.worst) <= WORST_MAX


def test_what_people_named_is_text_never_markup() -> None:
    evil = '<img src="http://evil/x.png" onerror=alert(1)>'
    report = evaluate_classification(
        np.eye(2)[[0, 1, 1]], np.array([0, 1, 0]), [evil, "b & c"], [ImageFacts("a" * 64, 9, 9)] * 3
    ).report.model_copy(update={"model": evil, "dataset": evil, "notes": (evil,)})
    page = render(report, {"a" * 64: b"jpeg"})
    assert "<img" not in page
    assert read(page).fetched == []
    assert "b &amp; c" in page


def test_an_image_lies_in_the_page_itself() -> None:
    report = evaluate_classification(
        np.array([[0.9, 0.1]]), np.array([1]), ["a", "b"], [ImageFacts("a" * 64, 28, 28)]
    ).report
    assert "data:image/jpeg;base64,anBlZw==" in render(report, {"a" * 64: b"jpeg"})


def test_curves_stay_within_their_plot() -> None:
    page = render(reports()["classification"])
    for points in re.findall(r'<polyline class="[^"]*" points="([^"]*)"', page):
        for point in points.split():
            x, y = map(float, point.split(","))
            assert 46 <= x <= 408
            assert 10 <= y <= 260


def test_a_training_is_shown_by_its_loss_and_the_headline() -> None:
    history = [
        {"epoch": n + 1.0, "loss": 2 / (n + 1), "accuracy": n / 9, "x": 0.5} for n in range(9)
    ]
    report = reports()["classification"]
    report = report.model_copy(update={"curves": (*report.curves, *training_curves(history))})
    text = " ".join(read(render(report)).texts)
    assert "Training" in text
    assert "loss" in text
    assert text.count("accuracy (") == 0  # no area under a training's curve


def test_a_report_comes_back_from_json_as_it_was() -> None:
    for report in reports().values():
        again = Report.model_validate_json(report.model_dump_json())
        assert again.model_dump() == report.model_dump()


def test_a_report_stays_small_however_many_images_there_are() -> None:
    random = np.random.default_rng(0)
    probabilities, targets = worlds.probabilities(random, 20_000, 10)
    images = [
        ImageFacts(f"{n:064}", 28, 28, (f"tag{n % 500}",), f"s3://b/{n}/x.png")
        for n in range(20_000)
    ]
    names = [f"class{n}" for n in range(10)]
    report = evaluate_classification(probabilities, targets, names, images).report
    assert len(report.slices) <= 64
    assert len(report.model_dump_json()) < 200_000


def test_a_history_with_gaps_gives_curves_without_them() -> None:
    (loss, accuracy) = training_curves(
        [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0, "accuracy": 0.5}]
    )
    assert (loss.name, loss.x, loss.y) == ("loss", (1.0, 2.0), (2.0, 1.0))
    assert (accuracy.name, accuracy.x, accuracy.y) == ("accuracy", (2.0,), (0.5,))
