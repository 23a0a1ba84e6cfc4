"""deploy/observability asks for nothing that a running platform does not tell: nothing is dead.

The figures are those of the world whose whole story was told, read from /metrics of its processes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.chaos.fixtures import Undisturbed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

DEPLOY = Path(__file__).parents[2] / "deploy"
FOLDER = DEPLOY / "observability"
SCRAPED = {"job", "instance", "service"}
"""Labels that Prometheus adds, as prometheus.yaml has it."""
PROMETHEUS_OWN = {"up"}
FILLED_IN = {"$__rate_interval": "5m", "$service": ".*", "$model": ".*", "$$__tags": ""}


@dataclass
class Metric:
    """What was told under one name."""

    labels: dict[str, set[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Query:
    """One expression, and where it is."""

    place: str
    text: str

    def selectors(self) -> list[promql_parser.VectorSelector]:
        found: list[promql_parser.VectorSelector] = []

        def visit(node: promql_parser.Expr) -> None:
            if isinstance(node, promql_parser.VectorSelector):
                found.append(node)

        promql_parser.walk(self.parsed(), pre_visit=visit)
        return found

    def parsed(self) -> promql_parser.Expr:
        text = self.text
        for there, here in FILLED_IN.items():
            text = text.replace(there, here)
        return promql_parser.parse(text)


def alerts() -> Iterator[Query]:
    for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            yield Query(rule["alert"], rule["expr"])


def panels() -> Iterator[Query]:
    for path in sorted((FOLDER / "grafana" / "dashboards").glob("*.json")):
        said = json.loads(path.read_text())
        for panel in said["panels"]:
            for target in panel.get("targets", ()):
                yield Query(f"{path.stem}: {panel['title']}", target["expr"])
        for variable in said["templating"]["list"]:
            if variable["type"] == "query":
                asked = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"])
                assert asked
                metric, label = asked.groups()
                yield Query(f"{path.stem}: ${label}", f"sum by ({label}) ({metric})")


def links() -> Iterator[Query]:
    path = FOLDER / "grafana" / "provisioning" / "datasources" / "loopline.yaml"
    for source in yaml.safe_load(path.read_text())["datasources"]:
        for query in source["jsonData"].get("tracesToMetrics", {}).get("queries", ()):
            yield Query(f"{source['name']}: {query['name']}", query["query"])


def scaling() -> Iterator[Query]:
    path = DEPLOY / "helm" / "loopline" / "templates" / "scaledobject.yaml"
    for query in re.findall(r"^ +query: (.+)$", path.read_text(), re.MULTILINE):
        yield Query("KEDA", query)


@pytest.fixture(scope="module")
def told(undisturbed: Undisturbed) -> Mapping[str, Metric]:
    """What the platform told, by name, with every value of every label."""
    metrics: dict[str, Metric] = {}
    for text in undisturbed.told.figures.values():
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                metric = metrics.setdefault(sample.name, Metric())
                for label, value in sample.labels.items():
                    metric.labels.setdefault(label, set()).add(value)
    return metrics


def grouped_by(node: Any) -> set[str]:
    """Return the labels that an expression groups by."""
    labels: set[str] = set()

    def visit(each: promql_parser.Expr) -> None:
        modifier = getattr(each, "modifier", None)
        if isinstance(each, promql_parser.AggregateExpr) and modifier is not None:
            labels.update(modifier.labels)

    promql_parser.walk(node, pre_visit=visit)
    return labels


def has(metric: Metric, matcher: promql_parser.Matcher) -> bool:
    """Tell whether a value that is asked for is among those told."""
    if matcher.op != promql_parser.MatchOp.Equal or matcher.name in SCRAPED:
        return True
    return matcher.value in metric.labels[matcher.name]


def missing(query: Query, told: Mapping[str, Metric]) -> Iterator[str]:
    """Yield what an expression asks for that nobody tells."""
    known = set(SCRAPED)
    for selector in query.selectors():
        metric = told.get(selector.name or "", Metric())
        if selector.name not in told.keys() | PROMETHEUS_OWN:
            yield f"{query.place}: no figure {selector.name}"
            continue
        known |= metric.labels.keys()
        for matcher in selector.matchers.matchers:
            if matcher.name not in metric.labels.keys() | SCRAPED:
                yield f"{query.place}: {selector.name} has no label {matcher.name}"
            elif not has(metric, matcher):
                yield f"{query.place}: no {selector.name} with {matcher.name}={matcher.value}"
    for label in grouped_by(query.parsed()) - known:
        yield f"{query.place}: groups by {label}, which nothing in it has"


def test_every_figure_and_label_that_is_asked_for_is_told(told: Mapping[str, Metric]) -> None:
    queries = [*alerts(), *panels(), *links(), *scaling()]
    assert len(queries) > 60
    assert not [line for query in queries for line in missing(query, told)]


def test_an_expression_that_asks_for_what_is_not_there_is_found(
    told: Mapping[str, Metric],
) -> None:
    for text in (
        "loopline_no_such_figure",
        'loopline_agents{no_such_label="x"}',
        'loopline_agents{state="asleep"}',
        "sum by (model) (loopline_agents)",
    ):
        assert list(missing(Query("here", text), told)), text


def test_every_service_tells_of_itself(undisturbed: Undisturbed) -> None:
    figures = undisturbed.told.figures
    for name, text in figures.items():
        for metric in ("loopline_disk_free_bytes", "process_resident_memory_bytes"):
            assert metric in text, (name, metric)


def test_durations_fall_into_different_classes(undisturbed: Undisturbed) -> None:
    """In OpenTelemetry's own classes, made for milliseconds, all of them would be in the first."""
    counts: dict[str, dict[str, float]] = {}
    for text in undisturbed.told.figures.values():
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "loopline_handler_duration_seconds_bucket":
                    event = counts.setdefault(sample.labels["event"], {})
                    event[sample.labels["le"]] = sample.value
    training = counts["train_model"]
    assert training["0.25"] < training["+Inf"]
    assert max(bound["0.1"] for bound in counts.values()) > 0


def test_traces_lead_to_figures_by_an_attribute_that_every_process_has(
    undisturbed: Undisturbed,
) -> None:
    path = FOLDER / "grafana" / "provisioning" / "datasources" / "loopline.yaml"
    sources = {each["uid"]: each for each in yaml.safe_load(path.read_text())["datasources"]}
    [tag] = sources["tempo"]["jsonData"]["tracesToMetrics"]["tags"]
    assert tag == {"key": "loopline.service", "value": "service"}
    assert {span.attributes.get(tag["key"]) for span in undisturbed.spans} >= {
        span.service.removeprefix("loopline-") for span in undisturbed.spans
    }
    assert {span.attributes[tag["key"]] for span in undisturbed.spans} >= {"ingest", "trainer"}
