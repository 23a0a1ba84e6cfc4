"""The flow document: strict, and clear about what is wrong where."""

from __future__ import annotations

import contextlib
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopline.errors import Rejected
from loopline.flows import Flow, InvalidFlow

DEMO = textwrap.dedent(
    """\
    flow: catalogue
    description: The retailer's catalogue.
    datasets: [catalogue]
    train:
      - name: retrain
        when: "dataset.statistics['labeled:train'] >= 500"
        model: catalogue
        recipe: classification
        parameters: {epochs: 12, lr: 0.1, augment: [flip, crop]}
    promote:
      - model: catalogue
        alias: champion
        when: "!has_champion || candidate.metrics.accuracy > champion.metrics.accuracy"
    apply:
      - alias: champion
        model: catalogue
        dataset: catalogue
        where: "!item.labeled"
    route:
      - name: confident
        when: "prediction.confidence >= 0.9"
        deliver: {connection: customer, bucket: results, prefix: "catalogue/"}
      - name: uncertain
        when: true
        relabel: {job: catalogue-relabel, limit: 10, webhook_url: "http://127.0.0.1:9/hook"}
    """
)
HEAD = "flow: x\ndatasets: [a]\n"


def _problems(text: str) -> list[str]:
    with pytest.raises(InvalidFlow) as caught:
        Flow.parse(text)
    return [str(problem) for problem in caught.value.problems]


def test_demo_flow_is_read() -> None:
    flow = Flow.parse(DEMO)
    assert (flow.name, flow.datasets) == ("catalogue", ("catalogue",))
    [train] = flow.train
    assert (train.pool, train.parameters["epochs"]) == ("default", 12)
    assert (flow.promote[0].name, flow.apply[0].name) == (
        "catalogue/champion",
        "catalogue/champion/catalogue",
    )
    assert [rule.name for rule in flow.route] == ["confident", "uncertain"]
    assert flow.destination == flow.route[0].deliver
    [(name, relabel)] = flow.relabel_rules
    assert (name, relabel.limit, relabel.order) == ("uncertain", 10, "least_confident")


def test_rules_are_compiled() -> None:
    flow = Flow.parse(DEMO)
    assert flow.train[0].rule.source == flow.train[0].when
    assert flow.route[1].rule.source == "true"
    assert flow.promote[0].rule.holds({"has_champion": False, "champion": {}, "candidate": {}})


def test_json_is_yaml() -> None:
    assert Flow.parse('{"flow": "x", "datasets": ["a"]}').name == "x"


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(DEMO + "\n# a comment\n", id="comment"),
        pytest.param(
            DEMO.replace("limit: 10,", "limit: 10, order: least_confident,"), id="default"
        ),
        pytest.param(
            DEMO.replace("parameters: {epochs: 12, lr: 0.1,", "parameters: {lr: 0.1, epochs: 12,"),
            id="order of keys",
        ),
        pytest.param(DEMO.replace("when: true", "when: 'true'"), id="quotes"),
    ],
)
def test_digest_is_of_what_the_document_says(other: str) -> None:
    assert Flow.parse(other).digest == Flow.parse(DEMO).digest


@pytest.mark.parametrize(
    "other",
    [
        DEMO.replace("0.9", "0.91"),
        DEMO.replace("limit: 10", "limit: 11"),
        DEMO.replace("epochs: 12", "epochs: 13"),
        DEMO.replace("retailer", "customer"),
    ],
)
def test_digest_changes_with_what_the_document_says(other: str) -> None:
    assert Flow.parse(other).digest != Flow.parse(DEMO).digest


def test_digest_is_stable_over_releases() -> None:
    """It names flows in commits for ever: fields added later must leave it as it is."""
    assert Flow.parse(HEAD).digest == (
        "06f9786f7816da51ca60071050b7af1f34567bbb8c14bad851bf8a866729b32f"
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param(
            DEMO.replace("recipe:", "receipe:"),
            "line 8, train[0].receipe: unknown field; did you mean 'recipe'?",
            id="unknown field",
        ),
        pytest.param(
            DEMO.replace("recipe:", "receipe:"),
            "line 5, train[0].recipe: this field is needed",
            id="missing field",
        ),
        pytest.param(
            DEMO + "trian: []\n",
            "line 26, trian: unknown field; did you mean 'train'?",
            id="unknown section",
        ),
        pytest.param(
            DEMO.replace("bucket: results", "bukket: results"),
            "line 22, route[0].deliver.bukket: unknown field; did you mean 'bucket'?",
            id="unknown field in a part",
        ),
        pytest.param(
            DEMO.replace("flow: catalogue", "flow: My Catalogue"),
            "line 1, flow: 'My Catalogue' does not match [a-z0-9][a-z0-9_-]{0,62}",
            id="name",
        ),
        pytest.param(
            DEMO.replace("limit: 10", "limit: 0"),
            "line 25, route[1].relabel.limit: input should be greater than or equal to 1, not 0",
            id="limit",
        ),
        pytest.param(
            DEMO.replace("limit: 10", "limit: ten"),
            "line 25, route[1].relabel.limit: input should be a valid integer, not 'ten'",
            id="type",
        ),
        pytest.param(
            DEMO.replace("limit: 10", "order: newest"),
            "line 25, route[1].relabel.order: "
            "input should be 'least_confident' or 'shuffled', not 'newest'",
            id="choice",
        ),
        pytest.param(
            DEMO.replace("confidence >=", "confidense >="),
            "line 21, route[0].when: "
            "column 1: unknown field 'prediction.confidense'; did you mean 'confidence'?",
            id="rule",
        ),
        pytest.param(
            DEMO.replace('"!item.labeled"', '"!item.labeld"'),
            "line 18, apply[0].where: "
            "column 2: unknown field 'item.labeld'; did you mean 'labeled'?",
            id="where",
        ),
        pytest.param(
            DEMO.replace("http://127.0.0.1:9/hook", "ftp://host/"),
            "line 25, route[1].relabel.webhook_url: 'ftp://host/' is not an http or https URL",
            id="scheme",
        ),
        pytest.param(
            DEMO.replace("http://127.0.0.1:9/hook", "http://me:secret@host/"),
            "line 25, route[1].relabel.webhook_url: "
            "no credentials in a webhook URL: a flow is kept, and shown, for ever",
            id="secret",
        ),
        pytest.param(
            DEMO.replace("bucket: results", "bucket: Results"),
            "line 22, route[0].deliver.bucket: "
            "'Results' is not a bucket name: 3 to 63 of a-z, 0-9, '-' and '.'",
            id="bucket",
        ),
        pytest.param(
            DEMO.replace('prefix: "catalogue/"', 'prefix: "../x"'),
            "line 22, route[0].deliver.prefix: "
            "'../x' is not a prefix: no leading '/', no '.' or '..' parts, printable",
            id="prefix",
        ),
        pytest.param(
            DEMO.replace("job: catalogue-relabel", "job: " + "j" * 55),
            f"line 25, route[1].relabel.job: {'j' * 55!r} has 55 characters; at most 54 here",
            id="job name leaves room for the run",
        ),
        pytest.param(
            DEMO.replace("epochs: 12", "until: 2026-01-01"),
            "line 9, train[0].parameters: until: a date is not JSON; quote it to give a text",
            id="date among parameters",
        ),
        pytest.param(
            DEMO.replace("lr: 0.1", "lr: .nan"),
            "line 9, train[0].parameters: lr: nan is not a finite number",
            id="nan among parameters",
        ),
        pytest.param(
            DEMO.replace("name: uncertain", "name: confident"),
            "line 23, route[1]: another route rule is called 'confident' already",
            id="two rules of one name",
        ),
        pytest.param(
            DEMO.replace("dataset: catalogue", "dataset: other"),
            "line 17, apply[0].dataset: 'other' is not one of the flow's datasets",
            id="foreign dataset",
        ),
        pytest.param(
            HEAD + "route: [{name: r, when: true}]",
            "line 3, route[0]: a route rule has one of 'deliver' and 'relabel'",
            id="no action",
        ),
        pytest.param(
            HEAD + "train: {name: t}",
            "line 3, train: a list is needed here",
            id="a section that is no list",
        ),
        pytest.param(
            HEAD + "train: [retrain]",
            "line 3, train[0]: fields are needed here, as `name: value`",
            id="a rule that is no map",
        ),
        pytest.param("flow: x", "line 1, datasets: this field is needed", id="no datasets"),
        pytest.param(
            "just a text", "line 1: fields are needed here, as `name: value`", id="not a map"
        ),
        pytest.param("", "line 1: the document is empty", id="empty"),
        pytest.param(
            "a: [1", "line 1: not YAML: expected ',' or ']', but got '<stream end>'", id="not YAML"
        ),
        pytest.param(
            "a: 1\n---\nb: 2", "line 2: not YAML: but found another document", id="two documents"
        ),
        pytest.param(
            "flow: x\nflow: y", "line 2: the key 'flow' stands here twice", id="twice the same key"
        ),
        pytest.param(
            "a: &x [1]\nb: *x", "line 2: anchors and aliases are not allowed in a flow", id="alias"
        ),
        pytest.param(
            "a: " + "[" * 30 + "]" * 30, "line 1: nested deeper than 16 levels", id="nested"
        ),
        pytest.param(
            "#" * 65537,
            "line 1: the document has 65537 bytes; at most 65536 are allowed",
            id="long",
        ),
        pytest.param(
            "a: !!python/object:os.system ls",
            "line 1: "
            "not YAML: could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/object:os.system'",
            id="code",
        ),
    ],
)
def test_problem_is_named_with_its_place_and_line(text: str, problem: str) -> None:
    assert problem in _problems(text)


def test_all_problems_are_told_at_once_in_the_order_of_the_document() -> None:
    text = (
        DEMO.replace("recipe:", "receipe:")
        .replace("confidence >=", "(")
        .replace("limit: 10", "limit: 0")
    )
    assert [problem.split(":")[0] for problem in _problems(text)] == [
        "line 5, train[0].recipe",
        "line 8, train[0].receipe",
        "line 21, route[0].when",
        "line 25, route[1].relabel.limit",
    ]


def test_a_flow_delivers_to_one_place() -> None:
    """One delivery has one tree and one manifest."""
    second = "  - {name: b, when: true, deliver: {connection: c, bucket: bbb, prefix: b/}}\n"
    first = second.replace("name: b", "name: a").replace("prefix: b/", "prefix: a/")
    assert "a flow delivers to one place" in _problems(HEAD + "route:\n" + first + second)[0]
    same = first.replace("name: a", "name: z")
    assert len(Flow.parse(HEAD + "route:\n" + first + same).route) == 2


def test_two_rules_open_two_jobs() -> None:
    rule = "  - {name: %s, when: true, relabel: {job: j}}\n"
    text = HEAD + "route:\n" + rule % "a" + rule % "b"
    assert "opens the job 'j' already" in _problems(text)[0]


def test_invalid_flow_is_rejected_with_everything_in_its_message() -> None:
    with pytest.raises(Rejected, match=r"the flow is refused: line 1, flow: .*; line 2, datasets"):
        Flow.parse("flow: X\ndatasets: [B]")


def test_flow_cannot_be_changed() -> None:
    flow = Flow.parse(HEAD)
    with pytest.raises(ValueError, match="frozen"):
        flow.name = "y"  # type: ignore[misc]


@given(st.text(max_size=200))
def test_any_text_is_a_flow_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidFlow):
        assert Flow.parse(text).datasets


@given(st.data())
def test_a_damaged_document_is_read_or_refused(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(DEMO)))
    end = data.draw(st.integers(start, min(len(DEMO), start + 30)))
    insert = data.draw(st.text(max_size=5))
    with contextlib.suppress(InvalidFlow):
        assert Flow.parse(DEMO[:start] + insert + DEMO[end:]).datasets
