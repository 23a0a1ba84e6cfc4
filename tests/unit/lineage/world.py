"""A small flywheel with all its bytes: what verify and trace walk over."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import PrivateAttr

from loopline.contracts import (
    Actor,
    ArtefactKind,
    ArtefactRef,
    BucketLocation,
    Commit,
    FlowCommitted,
    LabelsSubmitted,
    ModelCommitted,
    ModelFile,
    PredictionsCommitted,
    Run,
    RunKind,
    catalog,
)
from loopline.contracts import (
    Shape as ShapeMessage,
)
from loopline.contracts.catalog import Event
from loopline.digests import canonical_json, digest_of, sha256_hex
from loopline.flows import Flow
from loopline.lineage.journal import Journal
from loopline.store import runs
from loopline.store.blobs import MemoryBlobs
from loopline.store.commits import Committed
from loopline.store.datasets import Datasets
from loopline.store.items import PREDICTIONS, Item, Prediction, Shape
from loopline.store.objects import Area
from loopline.store.trees import TreeStore
from loopline.store.verify import VerifyReport, verify
from loopline.testing.memory import ManualClock, MemoryBus, memory_service, pump
from services.router.service import Router
from services.router.settings import RouterSettings

SOURCE = "s3://customer/photos/"
PLACE = BucketLocation(connection="customer", bucket="results", prefix="catalogue/")
CLASSES = ("coat", "shirt")
FLOW = """
flow: catalogue
datasets: [catalogue]
route:
  - name: confident
    when: "prediction.confidence >= 0.8"
    deliver: {connection: customer, bucket: results, prefix: "catalogue/"}
  - name: uncertain
    when: "true"
    relabel: {job: catalogue-relabel, limit: 10}
"""


def image(number: int) -> bytes:
    return f"image {number}".encode()


def asset(number: int) -> str:
    return sha256_hex(image(number))


class MemorySettings(RouterSettings):
    """Settings whose customers' buckets are in memory."""

    _results: MemoryBlobs = PrivateAttr(default_factory=MemoryBlobs)

    def customer_blobs(self, name: str, bucket: str) -> MemoryBlobs:  # type: ignore[override]
        """Return the one bucket there is."""
        assert (name, bucket) == (PLACE.connection, PLACE.bucket)
        return self._results


@dataclass
class World:
    """A workspace, a router that delivers, and the customer's bucket."""

    folder: Path
    bus: MemoryBus = field(default_factory=MemoryBus)
    blobs: MemoryBlobs = field(default_factory=MemoryBlobs)
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        self.settings = MemorySettings(data_dir=self.folder)
        self.router = memory_service(Router, self.settings, self.bus, self.blobs, clock=self.clock)
        self.log = self.router.log
        self.objects = self.router.objects
        self.datasets = Datasets(self.log, self.objects)
        self.bucket = self.settings.customer_blobs(PLACE.connection, PLACE.bucket)

    async def turn(self) -> None:
        """Import, train, predict, deliver; have two images labeled; train, predict, deliver."""
        await self.router.start()
        flow = await self.flow()
        first = await self.imported(range(20), labeled=range(8))
        model = await self.trained(first.ref, "first")
        await self.predicted(model, first, flow, {n: 0.9 if n < 14 else 0.5 for n in range(8, 20)})
        second = await self.labeled({14: ("anna", "coat"), 15: ("ben", "shirt")})
        better = await self.trained(second.ref, "second")
        await self.predicted(better, second, flow, dict.fromkeys(range(10, 20), 0.95))

    async def flow(self) -> Committed[FlowCommitted]:
        digest = Flow.parse(FLOW).digest
        commit = self._commit("FLOW", "catalogue", digest, self._run("EDIT", user="olga"))
        message = FlowCommitted(commit=commit, document=FLOW)
        return await self.commit(catalog.FLOW_COMMITTED, message)

    async def imported(self, numbers: range, labeled: range = range(0)) -> Committed[Any]:
        await self.objects.put_many(Area.ASSETS, [image(n) for n in numbers])
        source = _ref("SOURCE", SOURCE, digest_of(list(numbers)), "images")
        run = self._run("IMPORT", [source], user="urn:shop")
        items = [self._item(n, run.id if n in labeled else "") for n in numbers]
        return await self.datasets.commit_changes(
            "catalogue", items, run=run, summary=f"{len(items)} images", classes=CLASSES
        )

    async def labeled(self, given: dict[int, tuple[str, str]]) -> Committed[Any]:
        """Submit labels, and commit the dataset with them."""
        head = await self.datasets.head("catalogue")
        assert head is not None
        items = await (await self.datasets.tree(head)).get([asset(n) for n in given])
        for number, (labeler, class_name) in given.items():
            name = f"catalogue-relabel/{asset(number)}"
            shape = ShapeMessage(id="s", class_name=class_name, source=f"labeler:{labeler}")
            run = self._run("ANNOTATE", user=labeler)
            commit = self._commit("LABELS", name, digest_of([labeler, number]), run)
            message = LabelsSubmitted(
                commit=commit, job="catalogue-relabel", asset=asset(number), labeler=labeler,
                shapes=[shape],
            )  # fmt: skip
            await self.commit(
                catalog.LABELS_SUBMITTED, message, job="catalogue-relabel", asset=asset(number)
            )
            merged = Shape("s", class_name, source=f"labeler:{labeler}")
            items[asset(number)] = replace(items[asset(number)], labeled=True, shapes=(merged,))
        labels = _ref("LABELS", "catalogue-relabel", digest_of(str(given)), "labels")
        return await self.datasets.commit_changes(
            "catalogue", items.values(), run=self._run("ANNOTATE", [head.ref, labels]),
            summary=f"{len(given)} labels",
        )  # fmt: skip

    async def trained(self, dataset: ArtefactRef, weights: str) -> Committed[ModelCommitted]:
        digest = await self.objects.put(Area.MODELS, weights.encode())
        file = ModelFile(name="model.onnx", digest=digest, size_bytes=len(weights))
        run = self._run("TRAIN", [dataset], weights=weights)
        message = ModelCommitted(
            commit=self._commit("MODEL", "catalogue", digest_of(weights), run),
            task="classification", recipe="classification", classes=CLASSES, files=[file],
        )  # fmt: skip
        return await self.commit(catalog.MODEL_COMMITTED, message)

    async def predicted(
        self, model: Committed[Any], dataset: Committed[Any], flow: Committed[Any],
        confidences: dict[int, float],
    ) -> Committed[PredictionsCommitted]:  # fmt: skip
        """Commit predictions, and let the router deliver."""
        rows = [
            Prediction(
                asset(n),
                (Shape("1", CLASSES[n % 2], confidence=c),),
                (c, 1 - c) if n % 2 == 0 else (1 - c, c),
            )
            for n, c in confidences.items()
        ]
        tree = await TreeStore(self.objects, PREDICTIONS).write(rows)
        assets = await self.objects.put(Area.PLANS, canonical_json([row.asset for row in rows]))
        run = self._run("PREDICT", [model.ref, dataset.ref, flow.ref])
        name = f"catalogue-{model.ref.digest[:16]}"
        message = PredictionsCommitted(
            commit=self._commit("PREDICTIONS", name, tree.digest, run),
            model=model.ref, dataset=dataset.ref, flow=flow.ref, tree=tree.ref(),
            selection_digest=assets, selected=len(rows), inferred=len(rows),
        )  # fmt: skip
        committed = await self.commit(catalog.PREDICTIONS_COMMITTED, message)
        await pump(self.bus, self.router)
        return committed

    async def commit(self, event: Event[Any], message: Any, **tokens: str) -> Committed[Any]:
        async def build(_: Committed[Any] | None) -> Any:
            return message

        return await self.log.commit(
            event, build, **(tokens or {"name": message.commit.artefact.name})
        )

    async def verify(self) -> VerifyReport:
        return await verify(self.log, self.objects, self.bucket, PLACE)

    async def journal(self) -> Journal:
        return await Journal.read(self.log)

    def key(self, number: int) -> str:
        return f"{PLACE.prefix}{asset(number)}.json"

    def _item(self, number: int, imported_by: str) -> Item:
        shape = Shape("1", CLASSES[number % 2], source=f"import:{imported_by}")
        return Item(
            asset(number), "image/png", 500, 28, 28,
            split="train" if imported_by else "",
            source=f"{SOURCE}{number:04}.png",
            labeled=bool(imported_by),
            shapes=(shape,) if imported_by else (),
        )  # fmt: skip

    def _run(
        self, kind: str, inputs: list[ArtefactRef] | None = None, user: str = "", **parameters: str
    ) -> Run:
        self.clock.advance(60)
        value: RunKind = RunKind.Value(f"RUN_KIND_{kind}")  # type: ignore[assignment]
        actor = Actor(kind="user", name=user) if user else Actor(kind="flow", name="catalogue")
        given = {**parameters, "at": self.clock.now().isoformat()}
        run = runs.new_run(
            value, inputs=inputs or [], parameters=given, actor=actor, clock=self.clock
        )
        run.finished_at.CopyFrom(run.started_at)
        return run

    def _commit(self, kind: str, name: str, digest: str, run: Run) -> Commit:
        return Commit(artefact=_ref(kind, name, digest), run=run, summary=f"{name} made")


def _ref(kind: str, name: str, digest: str, role: str = "") -> ArtefactRef:
    value: ArtefactKind = ArtefactKind.Value(f"ARTEFACT_KIND_{kind}")  # type: ignore[assignment]
    return ArtefactRef(kind=value, name=name, digest=digest, role=role)
