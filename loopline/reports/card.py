"""The card of a model version: what it is, what it was made from, how good it is, where it fails.

After Mitchell et al., "Model cards for model reporting" (2019). Everything in it is taken from
commits and the report: nothing is filled in by hand, so nothing in it can be out of date.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from loopline.contracts import ArtefactRef, DatasetCommitted, ModelCommitted, Run, RunKind
from loopline.evaluation.report import Report, Slice
from loopline.reports.page import title_of

WEAK_SHOWN: Final = 5  # classes and slices that are named among the limits
FEW: Final = 30  # test images or objects below which a class's figures say little
WEAKER_BY: Final = 0.05  # than all together, from which a slice is named
CALIBRATED: Final = 0.05  # calibration error below which confidences can be read as shares


@dataclass(frozen=True, slots=True)
class Facts:
    """What a card is made of.

    Args:
        model: The version.
        report: Of its evaluation; None if it has none.
        dataset: What it was trained on; None if that is not known.
        aliases: That point to it.
        sequence: Of its commit in the log.
    """

    model: ModelCommitted
    report: Report | None
    dataset: DatasetCommitted | None
    aliases: Sequence[str]
    sequence: int


def render(facts: Facts) -> str:
    """Return the card as Markdown."""
    parts = [
        _head(facts),
        _data(facts.dataset),
        _metrics(facts.report),
        _limits(facts),
        _provenance(facts),
        _files(facts.model),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(facts: Facts) -> str:
    model = facts.model
    ref, before = model.commit.artefact, model.preprocessing
    colours = "grey" if before.channels == 1 else "RGB"
    shape = f"{before.width_px}×{before.height_px} px, {colours}"
    aliases = f" ({', '.join(facts.aliases)})" if facts.aliases else ""
    committed = _when(model.commit.committed_at.ToDatetime())
    rows = [
        ("task", model.task),
        ("recipe", model.recipe),
        ("classes", ", ".join(model.classes)),
        ("input", f"{shape}; images are {_fitted(before.fit)}"),
        ("version", f"`{ref.digest}`"),
        ("committed", f"{committed}, sequence {facts.sequence}"),
    ]
    return (
        f"# {ref.name}@v{ref.version}{aliases}\n\n{_sentence(model.commit.summary)}\n\n"
        + _table(("", ""), rows)
    )


def _data(dataset: DatasetCommitted | None) -> str:
    if dataset is None:
        return "## Data\n\nThe log does not say what it was trained on."
    ref, counts = dataset.commit.artefact, dataset.statistics
    splits = [
        (split, f"{counts[f'split:{split}']:,}", f"{counts.get(f'labeled:{split}', 0):,}")
        for split in ("train", "val", "test")
        if counts.get(f"split:{split}")
    ]
    classes = [(name, f"{counts.get(f'class:{name}', 0):,}") for name in dataset.classes]
    return (
        f"## Data\n\nDataset [{ref.name}@v{ref.version}](#provenance): {counts.get('items', 0):,} "
        f"images, {counts.get('labeled', 0):,} of them labeled. The test split is frozen: "
        f"`{dataset.test_split_digest[:16] or 'none'}`.\n\n"
        f"{_table(('split', 'images', 'labeled'), splits)}\n\n"
        f"{_table(('class', 'images'), classes)}"
    )


def _metrics(report: Report | None) -> str:
    if report is None:
        return "## Metrics\n\nIt was never measured."
    headline = [(title_of(name), f"{report.metrics[name]:.3f}") for name in report.headline]
    columns = list(dict.fromkeys(name for one in report.per_class for name in one.metrics))
    rows = [
        (one.class_name, f"{one.count:,}", *(_figure(one.metrics, name) for name in columns))
        for one in report.per_class
    ]
    where = f"{report.dataset or 'its dataset'}, split {report.split}"
    parts = [
        f"## Metrics\n\nOn {report.count:,} images of {where}, none of which it was trained on.",
        _table(("metric", "value"), headline),
        _table(("class", "count", *map(title_of, columns)), rows),
    ]
    if report.slices:
        names = list(report.slices[0].metrics)
        parts.append(
            _table(
                ("images with", "count", *map(title_of, names)),
                [
                    (f"{s.by} {s.value}", f"{s.count:,}", *(_figure(s.metrics, n) for n in names))
                    for s in report.slices
                ],
            )
        )
    if report.speed is not None:
        parts.append(
            f"On {report.speed.device} with {report.speed.threads} thread(s): "
            f"{report.speed.network_images_per_s:,.0f} images per second, "
            f"{report.speed.p50_ms:.1f} ms for one."
        )
    return "\n\n".join(parts)


def _limits(facts: Facts) -> str:
    found = [*_known_limits(facts.report), *_always(facts.model)]
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in found)


def _known_limits(report: Report | None) -> Iterable[str]:
    if report is None:
        yield "Nothing is known of how good it is."
        return
    if "accuracy" in report.metrics and report.count:
        low, high = _wilson(report.metrics["accuracy"], report.count)
        yield (
            f"Measured on {report.count:,} images: its accuracy on others like them is between "
            f"{low:.3f} and {high:.3f} with 95% confidence."
        )
    if few := [one.class_name for one in report.per_class if one.count < FEW]:
        yield f"Fewer than {FEW} test examples, so their figures say little: {_names(few)}."
    name = "f1" if report.task != "segmentation" else "iou"
    weak = sorted((one.metrics.get(name, 0.0), one.class_name) for one in report.per_class)
    if len(weak) > 1:
        shown = _names([f"{label} ({value:.2f})" for value, label in weak[:WEAK_SHOWN]])
        yield f"Weakest classes by {title_of(name)}: {shown}."
    if confused := _confused(report):
        yield f"Most often confused: {_names(confused)}."
    if weaker := _weaker(report):
        yield f"Weaker on some of the images: {_names(weaker)}."
    if report.calibration is not None:
        error = report.calibration.error
        told = "can be read as shares" if error < CALIBRATED else "must not be read as shares"
        yield f"Its confidences {told}: they are {error:.3f} from the truth on average."
    yield from report.notes


def _always(model: ModelCommitted) -> Iterable[str]:
    before = model.preprocessing
    names = ", ".join(model.classes)
    if model.task == "classification":
        yield f"It always answers with one of its classes ({names}), also for images of none."
    else:
        yield f"It knows nothing but {names}."
    yield (
        f"Details smaller than about a pixel of {before.width_px}×{before.height_px} px are lost "
        "before it looks."
    )
    if model.commit.run.kind == RunKind.RUN_KIND_QUANTIZE:
        yield "Its numbers are 8 bit integers: figures differ a little from the version before."


def _confused(report: Report) -> list[str]:
    if report.confusion is None:
        return []
    labels = report.confusion.labels
    pairs = [
        (count, f"{labels[row]} taken for {labels[column]} ({count:,})")
        for row, counts in enumerate(report.confusion.counts)
        for column, count in enumerate(counts)
        if row != column and count
    ]
    return [text for _, text in sorted(pairs, key=lambda pair: -pair[0])[:3]]


def _weaker(report: Report) -> list[str]:
    name = next(iter(report.headline), "")
    whole = report.metrics.get(name, 0.0)

    def gap(one: Slice) -> float:
        return whole - one.metrics.get(name, whole)

    weak = [one for one in report.slices if one.count >= FEW and gap(one) >= WEAKER_BY]
    return [
        f"{one.by} {one.value} ({title_of(name)} {one.metrics[name]:.2f} on {one.count:,})"
        for one in sorted(weak, key=gap, reverse=True)[:WEAK_SHOWN]
    ]


def _workers(run: Run) -> str:
    """Return who did it: one worker, or all that shared it."""
    workers = run.members or [run.agent]
    return ", ".join(f"{worker.id} on {worker.host}" for worker in workers)


def _provenance(facts: Facts) -> str:
    run = facts.model.commit.run
    environment = run.environment
    kind = RunKind.Name(run.kind).removeprefix("RUN_KIND_").lower()
    seconds = run.finished_at.ToMilliseconds() / 1e3 - run.started_at.ToMilliseconds() / 1e3
    rows = [
        ("run", f"{kind} `{run.id}`"),
        ("asked for by", f"{run.actor.kind} {run.actor.name}".strip()),
        ("done by", f"{_workers(run)}, {environment.device}"),
        ("when", f"{_when(run.started_at.ToDatetime())}, {seconds:,.0f} s"),
        ("code", f"`{environment.code_digest}`"),
        ("packages", f"`{environment.packages_digest}`"),
        ("environment", f"{environment.python}, {environment.platform}"),
    ]
    inputs = [(ref.role, _shown(ref), f"`{ref.digest}`") for ref in run.inputs]
    parameters = [(name, f"`{value}`") for name, value in _plain(dict(run.parameters)).items()]
    return "\n\n".join(
        [
            "## Provenance",
            _table(("", ""), rows),
            _table(("input", "version", "digest"), inputs),
            _table(("parameter", "value"), parameters),
        ]
    )


def _files(model: ModelCommitted) -> str:
    rows = [(file.name, f"{file.size_bytes:,}", f"`{file.digest}`") for file in model.files]
    return "## Files\n\n" + _table(("file", "bytes", "sha256"), rows)


def _plain(parameters: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Return nested parameters under dotted names, whole numbers as such, in order of name."""
    found: dict[str, object] = {}
    for name, value in sorted(parameters.items()):
        if isinstance(value, Mapping) or hasattr(value, "fields"):
            found |= _plain(dict(value), f"{prefix}{name}.")  # type: ignore[call-overload]
        elif isinstance(value, float) and value.is_integer():
            found[prefix + name] = int(value)
        elif hasattr(value, "values") and not isinstance(value, str):
            found[prefix + name] = [str(part) for part in value]  # type: ignore[attr-defined]
        else:
            found[prefix + name] = value
    return found


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines)


def _figure(metrics: Mapping[str, float], name: str) -> str:
    return f"{metrics[name]:.3f}" if name in metrics else ""


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:WEAK_SHOWN]) + (", ..." if len(names) > WEAK_SHOWN else "")


def _wilson(share: float, count: int) -> tuple[float, float]:
    """Return Wilson's 95% interval of a share."""
    z = 1.96
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    spread = share * (1 - share) / count + z * z / (4 * count * count)
    half = z * spread**0.5 / (1 + z * z / count)
    return max(0.0, centre - half), min(1.0, centre + half)


def _fitted(fit: str) -> str:
    return "letterboxed, their aspect ratio kept" if fit == "letterbox" else "stretched to it"


def _shown(ref: ArtefactRef) -> str:
    return f"{ref.name}@v{ref.version}" if ref.version else ref.name


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
