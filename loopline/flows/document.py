"""The flow document: which events start which work, what promotes a model, how results are routed.

Strict: an unknown field, an invalid name, a rule that cannot work is refused with its place, line
and reason, all problems at once. docs/flows.md explains it to users.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    model_validator,
)

from loopline.digests import digest_of
from loopline.flows import fields
from loopline.flows.contexts import Kind
from loopline.flows.part import Part
from loopline.flows.problems import InvalidFlow, Problem, problems_of
from loopline.flows.rules import Rule, compile_rule
from loopline.flows.serving import PipelineRule, ServeRule
from loopline.flows.yaml_source import InvalidYaml, Path, read
from loopline.names import Name

MAX_RULES = 32  # per section
MAX_DATASETS = 32
MAX_SAMPLES = 100_000
MAX_PARAMETERS = 64
MAX_PREFIX_LENGTH = 512
MAX_JOB_ITEMS = 100_000
MAX_INSTRUCTIONS_LENGTH = 10_000
MAX_URL_LENGTH = 2000
MAX_DESCRIPTION_LENGTH = 2000
CACHED_FLOWS = 256
THRESHOLD = 0.3

TrainWhen = Annotated[str, BeforeValidator(fields.as_text), fields.compiles(Kind.TRAIN)]
PromoteWhen = Annotated[str, BeforeValidator(fields.as_text), fields.compiles(Kind.PROMOTE)]
SampleWhen = Annotated[str, BeforeValidator(fields.as_text), fields.compiles(Kind.SAMPLE)]
RouteWhen = Annotated[str, BeforeValidator(fields.as_text), fields.compiles(Kind.ROUTE)]
Where = Annotated[str, BeforeValidator(fields.as_text), fields.compiles(Kind.APPLY, optional=True)]
Parameters = Annotated[
    dict[str, Any], BeforeValidator(fields.json_object), Field(max_length=MAX_PARAMETERS)
]


class TrainRule(Part):
    """When a dataset version trains a model."""

    name: Name
    when: TrainWhen
    model: Name
    recipe: Name
    pool: Name = "default"
    parameters: Parameters = {}  # noqa: RUF012 - pydantic copies it

    @property
    def rule(self) -> Rule:
        """The compiled `when`."""
        return compile_rule(Kind.TRAIN, self.when)


class PromoteRule(Part):
    """When a model version becomes what an alias points to."""

    model: Name
    alias: Name
    when: PromoteWhen

    @property
    def name(self) -> str:
        """What the rule is called: the alias it moves."""
        return f"{self.model}/{self.alias}"

    @property
    def rule(self) -> Rule:
        """The compiled `when`."""
        return compile_rule(Kind.PROMOTE, self.when)


class ApplyRule(Part):
    """What a model version is applied to once an alias points to it."""

    model: Name
    alias: Name
    dataset: Name
    where: Where = ""
    pool: Name = "default"

    @property
    def name(self) -> str:
        """What the rule is called: the alias it follows and the dataset."""
        return f"{self.model}/{self.alias}/{self.dataset}"


class Deliver(Part):
    """A place in the customer's storage."""

    connection: Name
    bucket: Annotated[str, AfterValidator(fields.bucket)]
    prefix: Annotated[str, Field(max_length=MAX_PREFIX_LENGTH), AfterValidator(fields.prefix)] = ""


class Relabel(Part):
    """A labeling job to open with what matched."""

    job: Annotated[str, AfterValidator(fields.job_name)]
    limit: Annotated[int, Field(ge=1, le=MAX_JOB_ITEMS)] = 1000
    order: Literal["least_confident", "shuffled"] = "least_confident"
    instructions: Annotated[str, Field(max_length=MAX_INSTRUCTIONS_LENGTH)] = ""
    webhook_url: Annotated[
        str, Field(max_length=MAX_URL_LENGTH), AfterValidator(fields.webhook_url)
    ] = ""
    keeps_filling: bool = False
    review: bool = False
    labelers_per_item: Annotated[int, Field(ge=1, le=20)] = 1


class RouteRule(Part):
    """What becomes of a prediction. The first rule that holds wins."""

    name: Name
    when: RouteWhen
    deliver: Deliver | None = None
    relabel: Relabel | None = None

    @property
    def rule(self) -> Rule:
        """The compiled `when`."""
        return compile_rule(Kind.ROUTE, self.when)

    @model_validator(mode="after")
    def _has_one_action(self) -> RouteRule:
        if (self.deliver is None) == (self.relabel is None):
            raise ValueError("a route rule has one of 'deliver' and 'relabel'")
        return self


class SampleRule(Part):
    """Which recorded requests to a served model become items of a dataset."""

    name: Name
    model: Name
    dataset: Name
    when: SampleWhen
    share: Annotated[float, Field(strict=False, gt=0.0, le=1.0)] = 1.0
    per_hour: Annotated[int, Field(ge=1, le=MAX_SAMPLES)] = 100
    per_day: Annotated[int, Field(ge=1, le=MAX_SAMPLES)] = 1000
    tag: Name = "sampled"

    @property
    def rule(self) -> Rule:
        """The compiled `when`."""
        return compile_rule(Kind.SAMPLE, self.when)


class Flow(Part):
    """A flow document.

    >>> flow = Flow.parse('''
    ... flow: catalogue
    ... datasets: [catalogue]
    ... promote:
    ...   - {model: catalogue, alias: champion, when: "!has_champion"}
    ... ''')
    >>> flow.name, flow.promote[0].name
    ('catalogue', 'catalogue/champion')
    """

    name: Annotated[Name, Field(alias="flow")]
    description: Annotated[str, Field(max_length=MAX_DESCRIPTION_LENGTH)] = ""
    datasets: Annotated[
        tuple[Name, ...], Field(strict=False, min_length=1, max_length=MAX_DATASETS)
    ]
    threshold: Annotated[float, Field(strict=False, ge=0.0, le=1.0)] = THRESHOLD
    train: Annotated[tuple[TrainRule, ...], Field(strict=False, max_length=MAX_RULES)] = ()
    promote: Annotated[tuple[PromoteRule, ...], Field(strict=False, max_length=MAX_RULES)] = ()
    apply: Annotated[tuple[ApplyRule, ...], Field(strict=False, max_length=MAX_RULES)] = ()
    route: Annotated[tuple[RouteRule, ...], Field(strict=False, max_length=MAX_RULES)] = ()

    sample: Annotated[tuple[SampleRule, ...], Field(strict=False, max_length=MAX_RULES)] = ()
    serve: Annotated[tuple[ServeRule, ...], Field(strict=False, max_length=MAX_RULES)] = ()
    pipeline: Annotated[tuple[PipelineRule, ...], Field(strict=False, max_length=MAX_RULES)] = ()

    @staticmethod
    def parse(text: str) -> Flow:
        """Return the flow that a YAML (or JSON) text describes; the same object for the same text.

        Raises:
            InvalidFlow: With every problem, its place and its line.
        """
        return _parse(text)

    @cached_property
    def digest(self) -> str:
        """sha256 of what it says; layout, comments and spelled-out defaults do not count."""
        return digest_of(json.loads(self.model_dump_json(by_alias=True, exclude_defaults=True)))

    @property
    def destination(self) -> Deliver | None:
        """Where it delivers to; None if it delivers nothing."""
        return next((rule.deliver for rule in self.route if rule.deliver), None)

    @property
    def relabel_rules(self) -> tuple[tuple[str, Relabel], ...]:
        """The rules that open labeling jobs, by name."""
        return tuple((rule.name, rule.relabel) for rule in self.route if rule.relabel)


@lru_cache(maxsize=CACHED_FLOWS)
def _parse(text: str) -> Flow:
    try:
        source = read(text)
    except InvalidYaml as error:
        raise InvalidFlow([Problem("", int(str(error.ids["line"])), error.message)]) from error
    try:
        flow = Flow.model_validate(source.value)
    except ValidationError as error:
        raise InvalidFlow(problems_of(error, Flow, source)) from error
    if problems := [Problem.at(path, reason, source) for path, reason in _contradictions(flow)]:
        raise InvalidFlow(problems)
    return flow


def _contradictions(flow: Flow) -> Iterator[tuple[Path, str]]:
    """Yield what is wrong between fields that are right alone."""
    for section in ("train", "promote", "apply", "route", "sample", "serve", "pipeline"):
        names = [rule.name for rule in getattr(flow, section)]
        for index, name in enumerate(names):
            if name in names[:index]:
                yield (section, index), f"another {section} rule is called {name!r} already"
    for index, rule in enumerate(flow.apply):
        if rule.dataset not in flow.datasets:
            yield ("apply", index, "dataset"), f"{rule.dataset!r} is not one of the flow's datasets"
    for index, sampling in enumerate(flow.sample):
        if sampling.dataset not in flow.datasets:
            place = ("sample", index, "dataset")
            yield place, f"{sampling.dataset!r} is not one of the flow's datasets"
    yield from _route_contradictions(flow)


def _route_contradictions(flow: Flow) -> Iterator[tuple[Path, str]]:
    jobs: set[str] = set()
    for index, rule in enumerate(flow.route):
        if rule.deliver and rule.deliver != flow.destination:
            # One delivery has one tree and one manifest; an object that moved would be left behind.
            yield (
                ("route", index, "deliver"),
                "a flow delivers to one place (connection, bucket and prefix); use another flow",
            )
        if rule.relabel and rule.relabel.job in jobs:
            yield (
                ("route", index, "relabel", "job"),
                f"another rule opens the job {rule.relabel.job!r} already; join them with ||",
            )
        if rule.relabel:
            jobs.add(rule.relabel.job)
