"""Names are subject tokens and storage prefixes."""

from __future__ import annotations

import pytest

from loopline.client.refs import parse_ref, show_ref
from loopline.contracts import ArtefactKind
from loopline.errors import Rejected
from loopline.names import validate_name

DATASET = ArtefactKind.ARTEFACT_KIND_DATASET


@pytest.mark.parametrize("name", ["a", "0", "catalogue", "a-b_c", "x" * 63])
def test_valid_names_are_returned(name: str) -> None:
    assert validate_name("dataset", name) == name


@pytest.mark.parametrize("name", ["", "A", "a.b", "a b", "*", ">", "-a", "é", "x" * 64, "a\n"])
def test_invalid_names_are_refused_and_named(name: str) -> None:
    with pytest.raises(Rejected) as caught:
        validate_name("dataset", name)
    assert repr(name) in caught.value.message


def test_references_name_a_version_a_digest_or_a_tag() -> None:
    assert parse_ref("c@v3", DATASET)[0].version == 3
    assert parse_ref(f"c@{'a' * 64}", DATASET)[0].digest == "a" * 64
    assert parse_ref("c@best", DATASET)[1] == "best"
    assert show_ref(parse_ref("c@v3", DATASET)[0]) == "c@v3"
    with pytest.raises(Rejected, match="after '@' goes"):
        parse_ref("c@No Tag", DATASET)
