"""Pipelines: a detector's boxes are cut out of the image, and a classifier says what is in them.

To a client a pipeline is a model of its own. Its steps are asked like any other request: they
follow their aliases, wait in their models' queues, and share executions with everybody else's
requests.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from loopline.digests import digest_of
from loopline.errors import LooplineError, NotFound, Rejected
from services.inference.adapters.engine.statistics import Statistics
from services.inference.adapters.models.declarations import Declarations
from services.inference.adapters.models.repository import IndexEntry
from services.inference.adapters.models.servable import Served
from services.inference.adapters.pipeline_run import Run
from services.inference.adapters.scheduling import Job, Scheduler
from services.inference.domain.admission import Admission
from services.inference.domain.crops import (
    PIPELINE_SIGNATURE,
)
from services.inference.domain.model import (
    PIPELINE,
    ModelVersion,
    VersionKey,
)
from services.inference.domain.serving import PipelineTerms
from services.inference.domain.tensors import EncodedImages, Payload

AT_ONCE: Final = 8
"""Requests to pipelines that run at once; others wait, their images counted as inside."""


class Pipeline:
    """A declared pipeline, to be asked like a servable.

    Args:
        terms: What was declared.
        admitted_images: Images inside at once.
    """

    def __init__(self, terms: PipelineTerms, admitted_images: int) -> None:
        self.terms = terms
        self.model = ModelVersion(
            terms.name,
            terms.version,
            digest_of(_said(terms)),
            (),
            0,
            0,
            3,
            "",
            "",
            0,
            task=PIPELINE,
        )
        self.signature = PIPELINE_SIGNATURE
        self.outputs = PIPELINE_SIGNATURE.outputs
        self.statistics = Statistics()
        self.admission = Admission(admitted_images, lambda: None)

    @property
    def timeout_s(self) -> float | None:
        """Its steps have their own."""
        return None

    def answered_by(self, digests: Sequence[str]) -> ModelVersion:
        """Return it as the versions of its steps make it."""
        return replace(self.model, digest=digest_of([self.model.digest, *digests]))


class Pipelines:
    """Runs pipelines.

    Args:
        scheduler: Runs their steps.
        declarations: Which there are.
        is_model: Tells whether a name is a model's: that goes before a pipeline.
        now_ms: The time, milliseconds since the epoch.
        admitted_images: Images inside one pipeline at once.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        declarations: Declarations,
        is_model: Callable[[str], bool],
        now_ms: Callable[[], int],
        admitted_images: int = 512,
    ) -> None:
        self._now_ms = now_ms
        self._scheduler = scheduler
        self._declarations = declarations
        self._is_model = is_model
        self._admitted_images = admitted_images
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="pipeline")
        self._known: dict[str, Pipeline] = {}
        self._lock = threading.Lock()

    def find(self, name: str, version: str = "") -> Pipeline | None:
        """Return the pipeline of a name; None where there is none.

        Raises:
            NotFound: There is one, but not of that version.
        """
        terms = self._declarations.pipeline(name)
        if terms is None or self._is_model(name):
            return None
        if version not in ("", str(terms.version)):
            raise NotFound(f"the pipeline {name!r} has the version {terms.version}, not {version}")
        with self._lock:
            pipeline = self._known.get(name)
            if pipeline is None or pipeline.terms != terms:
                pipeline = self._known[name] = Pipeline(terms, self._admitted_images)
        return pipeline

    def all(self) -> list[Pipeline]:
        """Return all of them, by name."""
        found = [self.find(terms.name) for terms in self._declarations.pipelines()]
        return [pipeline for pipeline in found if pipeline is not None]

    def unready(self, pipeline: Pipeline) -> str:
        """Return why a pipeline cannot be asked now; "" where it can."""
        return next(filter(None, map(self._scheduler.unready, pipeline.terms.steps)), "")

    def entries(self) -> list[IndexEntry]:
        """Return what the repository's index says of them."""
        entries = []
        for terms in self._declarations.pipelines():
            key, pipeline = VersionKey(terms.name, terms.version), self.find(terms.name)
            reason = f"a model is called {terms.name!r}, too"
            reason = reason if pipeline is None else self.unready(pipeline)
            entries.append(IndexEntry(key, "UNAVAILABLE" if reason else "READY", reason))
        return entries

    def start(
        self,
        pipeline: Pipeline,
        payload_for: Callable[[Served], Payload],
        priority: int = 0,
        key: str = "",
        *,
        tolerant: bool = False,
        recorded: bool = True,
    ) -> Job:
        """Start a request; as `Scheduler.start`.

        Raises:
            Rejected: It holds no encoded images.
            Exhausted: Too much waits already.
        """
        started_ns = time.perf_counter_ns()
        try:
            payload = payload_for(pipeline)
            if not isinstance(payload, EncodedImages):
                raise Rejected("a pipeline takes encoded images")
            pipeline.admission.enter(payload.count)
        except LooplineError:
            pipeline.statistics.failed(time.perf_counter_ns() - started_ns)
            raise
        count = payload.count
        job = Job(pipeline, count, tolerant, started_ns, priority=priority)
        job.future.add_done_callback(lambda _: pipeline.admission.leave(count))  # it keeps no files
        run = Run(
            self._scheduler, pipeline, job, payload.files, key, self._now_ms, recorded=recorded
        )
        try:
            self._threads.submit(run.finish)
        except RuntimeError:  # it was closed
            job.future.cancel()
        return job

    def close(self) -> None:
        """Take nothing more; what runs is finished."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _said(terms: PipelineTerms) -> list[object]:
    steps = [[step.model, step.alias] for step in terms.steps]
    return [terms.name, steps, terms.score_min, terms.crops_max, terms.margin]
