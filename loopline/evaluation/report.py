"""What an evaluation found: THE schema of its report, for the console, pages, cards and programs.

JSON, versioned by `format`. Every list is bounded (the limits are below), so a report of a million
images is as large as one of a thousand.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

Task = Literal["classification", "detection", "segmentation"]

BACKGROUND: Final = "background"  # the last row and column of a detector's confusion matrix
CURVE_POINTS_MAX: Final = 101
WORST_MAX: Final = 24
SLICES_MAX: Final = 64
CELLS_NAMED_MAX: Final = 64  # of a confusion matrix, those whose images a report names
CELL_IMAGES_MAX: Final = 12
SHAPES_SHOWN_MAX: Final = 100  # of one image among the worst
DIGITS: Final = 6
COMPARED_MIN: Final = 30
"""Images from which the interval of a difference can be trusted: with fewer it is too narrow."""

Figure = Annotated[float, PlainSerializer(lambda value: round(value, DIGITS), return_type=float)]
"""A number that is written with six decimals."""


class Part(BaseModel):
    """Base of every part of a report."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class ClassFigures(Part):
    """What was found of one class.

    Attributes:
        class_name: Which.
        count: How often it is there: images, boxes, or pixels for segmentation.
        metrics: Classification: precision, recall, f1, auc. Detection: ap, ap50, ap75, precision,
            recall, f1 and confidence, the last four where F1 is best. Segmentation: iou, dice,
            precision, recall, boundary_f1, and f1 and confidence where F1 is best.
    """

    class_name: str
    count: int
    metrics: dict[str, Figure]


class CellImages(Part):
    """Images of a cell of a confusion matrix, those that count most in it first.

    Attributes:
        truth: The row.
        predicted: The column.
        assets: sha256 of the image files.
    """

    truth: str
    predicted: str
    assets: tuple[str, ...]


class Confusion(Part):
    """What was taken for what.

    Attributes:
        labels: Of rows and columns; those of boxes and pixels end with "background".
        counts: A row for each true label, a column for each predicted one.
        unit: What is counted.
        confidence: For boxes: only predictions at least so sure are counted; 0 for the others.
        images: Some of those of the fullest cells off the diagonal; the outcomes have all.
    """

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    unit: Literal["images", "boxes", "pixels"]
    confidence: Figure = 0.0
    images: tuple[CellImages, ...] = ()


class Curve(Part):
    """A line to be drawn.

    Attributes:
        kind: Which plot it belongs to.
        name: The class, the mean of all ("all"), or the figure of a training.
        x: Ascending; recall, false positive rate, confidence, or the epoch.
        y: Precision, true positive rate, F1, or the figure's value.
        area: Under it; None where that says nothing.
    """

    kind: Literal["precision_recall", "roc", "f1_confidence", "training"]
    name: str
    x: tuple[Figure, ...]
    y: tuple[Figure, ...]
    area: Figure | None = None


class CalibrationBin(Part):
    """Predictions whose confidence is in (low, high].

    Attributes:
        share: Of all predictions.
        confidence: Mean.
        accuracy: How many of them are right, in [0, 1].
    """

    low: Figure
    high: Figure
    share: Figure
    confidence: Figure
    accuracy: Figure


class Calibration(Part):
    """Whether a confidence of .9 is right nine times in ten.

    Attributes:
        bins: Of equal width; those without predictions are left out.
        error: Expected calibration error: the mean distance of confidence from accuracy.
        temperature: Dividing the logits by it would calibrate best; None but for classification.
        error_after: The calibration error then.
    """

    bins: tuple[CalibrationBin, ...]
    error: Figure
    temperature: Figure | None = None
    error_after: Figure | None = None


class ErrorKind(Part):
    """One kind of a detector's errors, after TIDE (Bolya et al., 2020).

    Attributes:
        kind: Of a prediction: the class is wrong; the box is (IoU in [.1, .5)); both are; a second
            one of the same object; nothing there. "missed": an object without any of these.
        count: How many at the threshold of the confusion matrix.
        cost: How much AP50 would gain if there were none of them, in [0, 1].
    """

    kind: Literal["class", "localisation", "both", "duplicate", "background", "missed"]
    count: int
    cost: Figure


class ShapeView(Part):
    """A shape drawn on an image, in pixels of the image; without geometry it is the whole image."""

    class_name: str
    confidence: Figure | None = None
    bbox_xyxy: tuple[float, float, float, float] | None = None
    mask_rle: str | None = None
    verdict: Literal["", "right", "wrong", "missed"] = ""


class ImageView(Part):
    """An image that the model is far from right on.

    Attributes:
        asset: sha256 of the image file.
        badness: What the worst are ordered by; comparable within one report.
        reason: For people.
        truth: What is there.
        predicted: What the model says.
    """

    asset: str
    width_px: int
    height_px: int
    badness: Figure
    reason: str
    truth: tuple[ShapeView, ...] = ()
    predicted: tuple[ShapeView, ...] = ()


class Slice(Part):
    """The same figures of some of the images.

    Attributes:
        by: What they have in common.
        value: The tag; "small", "medium" or "large"; the folder or bucket they came from.
        count: How many there are.
        metrics: The headline's metrics.
    """

    by: Literal["tag", "size", "source"]
    value: str
    count: int
    metrics: dict[str, Figure]


class Speed(Part):
    """How fast the model answered on the machine it was measured on.

    Attributes:
        images_per_s: With decoding and bringing to size.
        network_images_per_s: The network alone.
        p50_ms: Of the network, an image at a time.
        p95_ms: Likewise.
        batch: Images at once, for `network_images_per_s`.
        threads: Of the network.
        device: "cpu", or the accelerator's name.
    """

    images_per_s: Figure
    network_images_per_s: Figure
    p50_ms: Figure
    p95_ms: Figure
    batch: int
    threads: int
    device: str


class Report(Part):
    """An evaluation.

    Attributes:
        format: Of this schema.
        task: Of the model.
        model: For people: "catalogue@v3"; empty in a report that was made before its model had a
            version.
        dataset: "catalogue@v2".
        split: Which.
        count: Images.
        classes: In the order of the model's outputs.
        metrics: Every figure by name; those of a class are "f1:<class>".
        headline: The metrics to show first; the very first is what the model is ordered by.
        per_class: In the order of `classes`.
        errors: Detection only.
        worst: The worst first.
        speed: None where only the figures count.
        notes: What a reader must know: images without labels that were left out, ...
    """

    format: Literal[1] = 1
    task: Task
    model: str = ""
    dataset: str = ""
    split: str = ""
    count: int
    classes: tuple[str, ...]
    metrics: dict[str, Figure]
    headline: tuple[str, ...]
    per_class: tuple[ClassFigures, ...]
    confusion: Confusion | None = None
    curves: tuple[Curve, ...] = ()
    calibration: Calibration | None = None
    errors: tuple[ErrorKind, ...] = ()
    worst: tuple[ImageView, ...] = ()
    slices: tuple[Slice, ...] = ()
    speed: Speed | None = None
    notes: tuple[str, ...] = ()


class Difference(Part):
    """How much a figure differs between two models on the same images.

    Attributes:
        a: Of the first model.
        b: Of the second.
        difference: b - a.
        low: Lower end of the interval of the difference.
        high: Upper end.
        better: The share of resamples in which the second is better, in [0, 1].
    """

    a: Figure
    b: Figure
    difference: Figure
    low: Figure
    high: Figure
    better: Figure


class Comparison(Part):
    """Two models on the same frozen split.

    Attributes:
        a: "catalogue@v2".
        b: "catalogue@v3".
        split_digest: Of the items and labels that both were measured on.
        count: Images.
        confidence: Of the intervals: .95.
        resamples: How many were drawn.
        metrics: By name; the headline's.
        notes: What a reader must know.
    """

    task: Task
    a: str = ""
    b: str = ""
    split_digest: str = ""
    count: int
    confidence: Figure
    resamples: int
    metrics: dict[str, Difference] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
