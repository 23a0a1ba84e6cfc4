"""The CSV file of known labels: good rows count, bad rows are named, and the rest goes on."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopline.errors import Rejected
from services.ingest.domain.labels import MAX_PROBLEMS, KnownShape, LabelProblem, read_labels

FILES = {"a.png", "b.png", "sub/ü c, d.png"}


def problems(text: str) -> list[tuple[int, str, str]]:
    return [(p.line, p.file, p.reason) for p in read_labels(text.encode(), FILES).problems]


def test_class_and_split_of_an_image_are_read() -> None:
    table = read_labels(b"file,class,split\na.png,bag,train\nb.png,coat,\n", FILES)
    assert table.problems == ()
    assert table.by_file["a.png"].shapes == (KnownShape("bag", None, 2),)
    assert table.by_file["a.png"].split == "train"
    assert table.by_file["b.png"].split == ""


def test_names_with_commas_spaces_and_accents_are_found() -> None:
    table = read_labels('file,class\n"sub/ü c, d.png",bag\n'.encode(), FILES)
    assert list(table.by_file) == ["sub/ü c, d.png"]


def test_name_in_another_unicode_form_is_the_same_name() -> None:
    """macOS writes "é" as two characters."""
    table = read_labels("file,class\ncafe\u0301.png,bag\n".encode(), {"caf\u00e9.png"})
    assert list(table.by_file) == ["caf\u00e9.png"]
    assert table.problems == ()


def test_columns_are_found_by_name_and_others_ignored() -> None:
    text = "\ufeffNote, CLASS ,x_min,y_min,x_max,y_max,File\nhm,bag,1,2,3.5,4,a.png\n"
    [shape] = read_labels(text.encode(), FILES).by_file["a.png"].shapes
    assert shape == KnownShape("bag", (1.0, 2.0, 3.5, 4.0), 2)


def test_image_may_have_several_boxes() -> None:
    text = "file,class,x_min,y_min,x_max,y_max\na.png,bag,0,0,1,1\na.png,coat,1,1,2,2\n"
    assert len(read_labels(text.encode(), FILES).by_file["a.png"].shapes) == 2


def test_same_row_twice_counts_once() -> None:
    table = read_labels(b"file,class\na.png,bag\na.png,bag\n", FILES)
    assert len(table.by_file["a.png"].shapes) == 1
    assert table.problems == ()


def test_row_without_a_class_only_sets_the_split() -> None:
    labels = read_labels(b"file,class,split\na.png,,test\n", FILES).by_file["a.png"]
    assert (labels.shapes, labels.split) == ((), "test")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        pytest.param("gone.png,bag,train,,,,", "no_such_file", id="no-such-file"),
        pytest.param(",bag,train,,,,", "no_such_file", id="no-file"),
        pytest.param("a.png,bag,holdout,,,,", "unknown_split", id="unknown-split"),
        pytest.param("a.png,,,1,1,2,2", "no_class", id="box-without-class"),
        pytest.param("a.png,b\x07g,,,,,", "bad_class", id="bell-in-class"),
        pytest.param(f"a.png,{'x' * 201},,,,,", "bad_class", id="long-class"),
        pytest.param("a.png,bag,,1,1,two,2", "bad_box", id="box-of-words"),
        pytest.param("a.png,bag,,1,1,,2", "bad_box", id="box-of-three"),
        pytest.param("a.png,bag,,nan,1,2,2", "bad_box", id="box-of-nan"),
        pytest.param("a.png,bag,,1,1,inf,2", "bad_box", id="box-without-end"),
        pytest.param("a.png,bag,,2,1,1,2", "bad_box", id="box-inside-out"),
    ],
)
def test_bad_row_is_named_and_the_rest_goes_on(row: str, reason: str) -> None:
    text = f"file,class,split,x_min,y_min,x_max,y_max\n{row}\nb.png,coat,train,,,,\n"
    assert problems(text) == [(2, row.split(",", maxsplit=1)[0], reason)]
    assert read_labels(text.encode(), FILES).by_file["b.png"].shapes[0].class_name == "coat"


def test_second_class_of_a_whole_image_is_a_conflict() -> None:
    table = read_labels(b"file,class\na.png,bag\na.png,coat\n", FILES)
    assert [p.reason for p in table.problems] == ["conflicting_class"]
    assert [s.class_name for s in table.by_file["a.png"].shapes] == ["bag"]
    assert not table.by_file["a.png"].complete


def test_second_split_of_an_image_is_a_conflict() -> None:
    text = "file,class,split\na.png,bag,train\na.png,bag,test\n"
    assert problems(text) == [(3, "a.png", "conflicting_split")]


def test_short_row_is_read_as_far_as_it_goes() -> None:
    assert problems("class,file,split\nbag\n") == [(2, "", "no_such_file")]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "no column 'file'", id="empty"),
        pytest.param(b"name,class\n", "no column 'file'; columns are: name, class", id="no-file"),
        pytest.param(b"file,label\n", "no column 'class'", id="no-class"),
        pytest.param(b"file,class\nb\xfcro.png,bag\n", "not UTF-8: byte 12", id="latin-1"),
        pytest.param(b"file,class\n" + b"x" * 200_000, "not CSV: line 2", id="no-csv"),
    ],
)
def test_file_that_cannot_be_read_at_all_is_rejected(data: bytes, message: str) -> None:
    with pytest.raises(Rejected, match=message):
        read_labels(data, FILES)


def test_problems_are_bounded() -> None:
    rows = "".join(f"{n}.png,bag\n" for n in range(MAX_PROBLEMS + 5))
    found = read_labels(f"file,class\n{rows}".encode(), FILES).problems
    assert len(found) == MAX_PROBLEMS + 1
    assert found[-1] == LabelProblem(0, "", "more", "5 more rows are left out")


@given(st.text(max_size=300))
def test_no_text_raises_anything_but_rejected(text: str) -> None:
    with contextlib.suppress(Rejected):
        read_labels(f"file,class\n{text}".encode("utf-8", "surrogatepass"), FILES)
