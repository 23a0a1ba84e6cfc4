"""The runs that annotate's commits carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loopline.clock import Clock
from loopline.contracts import Actor, Agent, ArtefactRef, Environment, Run, RunKind
from loopline.store import runs
from loopline.store.commits import timestamp
from loopline.tracing import current_trace_id


@dataclass(frozen=True, slots=True)
class Provenance:
    """What every run of this process has in common."""

    agent: Agent
    environment: Environment
    clock: Clock

    def run(
        self,
        kind: RunKind,
        inputs: Sequence[ArtefactRef],
        parameters: Mapping[str, object],
        actor: Actor,
    ) -> Run:
        """Return a run that begins and, until `finished` says otherwise, ends now."""
        run = runs.new_run(
            kind,
            inputs=inputs,
            parameters=parameters,
            actor=actor,
            agent=self.agent,
            environment=self.environment,
            clock=self.clock,
            trace_id=current_trace_id(),
        )
        return self.finished(run)

    def finished(self, run: Run) -> Run:
        """Set the run's end to now and return it."""
        run.finished_at.CopyFrom(timestamp(self.clock))
        return run


def as_role(ref: ArtefactRef, role: str) -> ArtefactRef:
    """Return the reference in the part it plays in a run."""
    made = ArtefactRef()
    made.CopyFrom(ref)
    made.role = role
    return made


def person(name: str) -> Actor:
    """Return a user as an actor."""
    return Actor(kind="user", name=name)
