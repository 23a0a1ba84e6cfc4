"""What inference decides without any engine or network."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopline.errors import Rejected
from loopline.names import validate_name
from loopline.store.items import ITEMS, Item, Shape
from services.inference.domain.admission import Admission, Exhausted, Retired
from services.inference.domain.answers import outputs_of
from services.inference.domain.application import (
    ApplicationPlan,
    Scored,
    Version,
    from_lines,
    predictions_name,
    slices,
    to_lines,
)
from services.inference.domain.classification import likeliest, prediction
from services.inference.domain.model import ModelVersion, Signature, TensorSpec, VersionKey
from services.inference.domain.residency import Budget, Resident, to_unload
from services.inference.domain.selection import Selection
from services.inference.domain.tensors import (
    EncodedImages,
    InputTensor,
    Tensors,
    join_raw_bytes,
    payload_of,
    requested_outputs,
    split_raw_bytes,
)

MODEL = ModelVersion("colours", 1, "d" * 64, ("red", "green"), 2, 3, 1, "area", "e" * 64, 100)
PIXELS = bytes(range(6))
SIGNATURE = Signature(
    (TensorSpec("image", "UINT8", (-1, 2, 3, 1)),),
    (TensorSpec("probabilities", "FP32", (-1, 2)), TensorSpec("logits", "FP32", (-1, 2))),
)


# --- tensors


def test_raw_and_typed_pixels_are_the_same() -> None:
    raw = payload_of([InputTensor("image", "UINT8", (1, 2, 3, 1), PIXELS)], MODEL, SIGNATURE, 8)
    typed = payload_of(
        [InputTensor("image", "UINT8", (1, 2, 3, 1), list(PIXELS))], MODEL, SIGNATURE, 8
    )
    assert isinstance(raw, Tensors)
    assert isinstance(typed, Tensors)
    assert np.array_equal(raw.feeds["image"], typed.feeds["image"])
    assert raw.feeds["image"].shape == (1, 2, 3, 1)


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_encoded_images_come_as_bytes_with_or_without_a_second_axis(shape: tuple[int, ...]) -> None:
    raw = InputTensor("image", "BYTES", shape, join_raw_bytes([b"one", b""]))
    assert payload_of([raw], MODEL, SIGNATURE, 8) == EncodedImages((b"one", b""))
    typed = InputTensor("image", "BYTES", shape, [b"one", b""])
    assert payload_of([typed], MODEL, SIGNATURE, 8) == EncodedImages((b"one", b""))


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        pytest.param([], "takes one input", id="no input"),
        pytest.param([InputTensor("x", "UINT8", (1,), b"")], "no input 'x'", id="unknown name"),
        pytest.param(
            [InputTensor("image", "UINT8", (1, 2, 3, 1), PIXELS)] * 2,
            "one input, 'image'; the request has 2",
            id="twice",
        ),
        pytest.param(
            [InputTensor("image", "FP32", (1, 2, 3, 1), PIXELS * 4)],
            "datatype FP32: expected UINT8 pixels or BYTES",
            id="wrong datatype",
        ),
        pytest.param(
            [InputTensor("image", "UINT8", (1, 3, 2, 1), PIXELS)],
            r"shape \[1, 3, 2, 1\]: expected \[N, 2, 3, 1\]",
            id="wrong shape",
        ),
        pytest.param(
            [InputTensor("image", "UINT8", (2, 3, 1), PIXELS)], "expected \\[N", id="no batch axis"
        ),
        pytest.param(
            [InputTensor("image", "UINT8", (1, 2, 3, 1), PIXELS[:-1])],
            "has 5 elements, its shape .* takes 6",
            id="too few bytes",
        ),
        pytest.param(
            [InputTensor("image", "UINT8", (1, 2, 3, 1), [*PIXELS[:-1], 256])],
            "holds the value 256",
            id="not a byte",
        ),
        pytest.param(
            [InputTensor("image", "UINT8", (0, 2, 3, 1), b"")], "batch is empty", id="empty"
        ),
        pytest.param(
            [InputTensor("image", "UINT8", (-1, 2, 3, 1), PIXELS)], "batch is empty", id="negative"
        ),
        pytest.param(
            [InputTensor("image", "UINT8", (9, 2, 3, 1), PIXELS * 9)],
            "9 images: at most 8",
            id="too many",
        ),
        pytest.param(
            [InputTensor("image", "BYTES", (9,), [b""] * 9)], "9 images: at most 8", id="many files"
        ),
        pytest.param(
            [InputTensor("image", "BYTES", (1, 2), [b"a", b"b"])],
            r"BYTES has shape \[1, 2\]",
            id="two files a row",
        ),
        pytest.param(
            [InputTensor("image", "BYTES", (2,), [b"a"])], "has 1 elements", id="fewer than said"
        ),
        pytest.param([InputTensor("image", "BYTES", (1 << 62,), [])], "at most 8", id="huge"),
    ],
)
def test_tensors_that_the_model_does_not_take_are_refused_with_what_it_takes(
    tensors: list[InputTensor], message: str
) -> None:
    with pytest.raises(Rejected, match=message):
        payload_of(tensors, MODEL, SIGNATURE, 8)


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=8))
def test_raw_bytes_round_trip(elements: list[bytes]) -> None:
    assert split_raw_bytes(join_raw_bytes(elements), len(elements)) == tuple(elements)


@given(st.binary(max_size=60), st.integers(1, 8))
def test_no_bytes_make_the_parser_do_anything_but_answer_or_refuse(data: bytes, count: int) -> None:
    try:
        elements = split_raw_bytes(data, count)
    except Rejected:
        return
    assert join_raw_bytes(elements) == data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"\x01", "1 bytes are left where a length is due", id="half a length"),
        pytest.param(struct.pack("<I", 9) + b"abc", "claims 9 bytes, 3 are left", id="too long"),
        pytest.param(join_raw_bytes([b"a", b"b"]), "its shape says 1", id="one too many"),
        pytest.param(b"", "hold 0 elements", id="nothing"),
    ],
)
def test_raw_bytes_that_do_not_add_up_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(Rejected, match=message):
        split_raw_bytes(data, 1)


def test_outputs_are_those_asked_for_in_that_order_or_all() -> None:
    specs = outputs_of(MODEL, SIGNATURE)

    def names(asked: list[str]) -> list[str]:
        return [spec.name for spec in requested_outputs(asked, specs)]

    assert names([]) == ["probabilities", "class", "confidence"]
    assert names(["class", "probabilities", "class"]) == ["class", "probabilities"]
    with pytest.raises(Rejected, match="no output 'boxes'"):
        names(["boxes"])


# --- classification


def test_the_likeliest_class_of_each_row_is_told_with_its_probability() -> None:
    rows = np.array([[0.25, 0.75], [0.5, 0.5]], np.float32)
    found = likeliest(rows, MODEL.classes)
    assert found.class_names == ("green", "red")
    assert found.confidences.tolist() == [0.75, 0.5]


def test_a_prediction_names_the_model_it_is_from() -> None:
    found = prediction("a" * 64, [0.25, 0.75], MODEL.classes, MODEL.digest)
    assert found.scores == (0.25, 0.75)
    (shape,) = found.shapes
    assert (shape.class_name, shape.confidence) == ("green", 0.75)
    assert shape.source == f"model:{MODEL.digest}"
    assert shape.id


# --- admission


def test_admission_refuses_what_is_over_its_capacity_until_somebody_leaves() -> None:
    admission = Admission(3, lambda: None)
    admission.enter(2)
    with pytest.raises(Exhausted, match="2 images wait for this model already and it takes 3"):
        admission.enter(2)
    admission.leave(2)
    admission.enter(3)
    assert admission.inside == 3


def test_a_retired_servable_closes_when_the_last_one_leaves() -> None:
    closed: list[bool] = []
    admission = Admission(8, lambda: closed.append(True))
    admission.enter(1)
    admission.enter(2)
    admission.retire()
    with pytest.raises(Retired):
        admission.enter(1)
    admission.leave(1)
    assert not closed
    admission.leave(2)
    admission.retire()
    assert closed == [True]


# --- residency


def key(version: int) -> VersionKey:
    return VersionKey("m", version)


@pytest.mark.parametrize(
    ("residents", "budget", "pinned", "expected"),
    [
        pytest.param([1, 2], Budget(2, 100), [], [], id="everything fits"),
        pytest.param([1, 2, 3], Budget(2, 100), [], [1], id="the least recently used goes"),
        pytest.param([1, 2, 3], Budget(2, 100), [1], [2], id="what aliases point to goes last"),
        pytest.param([1, 2, 3], Budget(1, 100), [1], [2, 1], id="but it goes"),
        pytest.param([1, 2, 3], Budget(9, 20), [], [1], id="bytes count too"),
        pytest.param([3], Budget(1, 5), [], [], id="the new one stays whatever its size"),
    ],
)
def test_residency(
    residents: list[int], budget: Budget, pinned: list[int], expected: list[int]
) -> None:
    loaded = [Resident(key(version), 10) for version in residents]
    unloaded = to_unload(
        loaded, budget, {key(v) for v in pinned}, keep=key(3 if 3 in residents else 2)
    )
    assert [one.version for one in unloaded] == expected


# --- selection


def item(number: int = 1, **values: object) -> Item:
    return Item(f"{number:064x}", "image/png", 500, 28, 30, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("where", "selected"),
    [
        pytest.param("", True, id="everything"),
        pytest.param("item.labeled", False, id="plain"),
        pytest.param("!item.labeled", True, id="plain not"),
        pytest.param("item.split == 'train' && item.width_px >= 28", True, id="fields"),
        pytest.param("'front' in item.tags", True, id="tags"),
        pytest.param("item.tags.exists(t, t.startsWith('ba'))", True, id="macro"),
        pytest.param("item.classes == ['bag']", True, id="classes"),
        pytest.param("item.height_px < 30", False, id="not"),
    ],
)
def test_items_are_selected_by_rule(where: str, selected: bool) -> None:
    shapes = (Shape(id="1", class_name="bag"),)
    one = item(split="train", tags=("back", "front"), shapes=shapes)
    assert Selection(where).selects(one) is selected


@pytest.mark.parametrize(
    ("where", "repeats"),
    [
        pytest.param("", True, id="everything"),
        pytest.param("!item.labeled && item.split != 'test'", True, id="flags"),
        pytest.param("'front' in item.tags && item.width_px >= 28", True, id="lists"),
        pytest.param("item.asset.startsWith('0')", False, id="the asset itself"),
        pytest.param("item.file_name != ''", False, id="hardly two are equal"),
    ],
)
def test_a_table_is_selected_from_as_its_items_are(where: str, repeats: bool) -> None:
    rows = [
        item(
            number,
            labeled=number % 3 == 0,
            split=("train", "test", "")[number % 3],
            tags=("front",) if number % 2 else ("back", "front"),
        )
        for number in range(40)
    ]
    selection = Selection(where)
    assert selection.repeats is repeats
    if repeats:
        table = pa.table(ITEMS.columns(rows)).select(list(selection.columns))
        expected = [row.asset for row in rows if selection.selects(row)]
        assert selection.of(table) == expected


def test_a_selection_reads_only_the_columns_it_needs() -> None:
    assert Selection("").columns == ("asset",)
    assert Selection("!item.labeled").columns == ("asset", "labeled")
    assert Selection("item.classes == [] && item.file_name != ''").columns == (
        "asset",
        "shapes",
        "source",
    )


@pytest.mark.parametrize(
    "where", ["item.labeled ==", "item.colour == 'red'", "item.width_px", "items.labeled"]
)
def test_a_rule_that_cannot_be_is_refused(where: str) -> None:
    with pytest.raises(Rejected):
        Selection(where)


# --- application


PLAN = ApplicationPlan(
    run_id="f" * 64,
    model=Version("catalogue", 2, "ab" * 32),
    dataset=Version("catalogue", 3, "cd" * 32),
    where="!item.labeled",
    flow=Version("catalogue", 1, "ef" * 32),
    actor_kind="flow",
    actor_name="catalogue",
    selection_digest="1" * 64,
    selected=700,
    inferred=600,
    chunk_items=256,
    chunks=("2" * 64, "3" * 64, "4" * 64),
    started_at="2026-01-01T00:00:00+00:00",
)


def test_a_plan_round_trips() -> None:
    assert ApplicationPlan.from_json(PLAN.to_json()) == PLAN


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"{", b'{"flow": 1}'])
def test_what_is_no_plan_is_rejected(data: bytes) -> None:
    with pytest.raises(Rejected, match="plan of an application"):
        ApplicationPlan.from_json(data)


def test_plans_with_other_chunks_do_not_share_their_work() -> None:
    assert PLAN.work_id != replace(PLAN, chunks=PLAN.chunks[:2]).work_id
    assert PLAN.work_id == replace(PLAN, started_at="2026-01-01T00:00:09+00:00").work_id


def test_progress_never_says_more_than_there_is() -> None:
    assert [PLAN.images_through(index) for index in range(3)] == [256, 512, 600]


def test_the_name_of_predictions_is_a_name_whatever_the_models() -> None:
    assert predictions_name(PLAN.model) == "catalogue-abababababababab"
    longest = predictions_name(Version("m" * 63, 1, "0" * 64))
    assert validate_name("predictions", longest) == longest


def test_the_same_assets_always_make_the_same_chunks() -> None:
    assets = [f"{number:064x}" for number in range(5)]
    assert slices(reversed(assets), 2) == [assets[:2], assets[2:4], assets[4:]]
    assert slices([], 2) == []


@given(st.lists(st.floats(0, 1, width=32), max_size=5))
def test_scores_survive_as_the_same_numbers(scores: list[float]) -> None:
    results = [Scored("a" * 64, tuple(scores)), Scored("b" * 64, reason="not an image")]
    assert from_lines(to_lines(results)) == results


@pytest.mark.parametrize("data", [b"{", b"[1]", b'{"scores": [1]}'])
def test_results_that_cannot_be_read_are_rejected(data: bytes) -> None:
    with pytest.raises(Rejected, match="results of a chunk"):
        from_lines(data)
