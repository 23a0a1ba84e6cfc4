"""The router's short reactions: trainings, promotions, applications."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loopline.contracts import AliasMoved, RunState, catalog
from loopline.contracts.catalog import Stream
from loopline.store.commits import Committed
from loopline.store.items import Item
from loopline.testing import flywheel
from loopline.testing.memory import MemoryLog, delivery

if TYPE_CHECKING:
    from tests.unit.router.conftest import World

TRAIN = """
flow: catalogue
datasets: [catalogue]
train:
  - name: retrain
    when: "dataset.statistics.labeled >= 2 && dataset.changes.labels_changed > 0"
    model: catalogue
    recipe: classification
    pool: gpu
    parameters: {epochs: 12, lr: 0.1}
"""
PROMOTE = """
flow: catalogue
datasets: [catalogue]
promote:
  - model: catalogue
    alias: champion
    when: "!has_champion || candidate.metrics.accuracy > champion.metrics.accuracy"
"""
APPLY = """
flow: catalogue
datasets: [catalogue]
apply:
  - {alias: champion, model: catalogue, dataset: catalogue, where: "!item.labeled", pool: cpu}
"""


def _labeled(*numbers: int) -> list[Item]:
    return [flywheel.item(number, labeled=True) for number in numbers]


async def _champion(world: World) -> Committed[AliasMoved] | None:
    return await world.router.log.head(catalog.ALIAS_MOVED, model="catalogue", alias="champion")


class TestOnDatasetCommitted:
    async def test_matching_rule_sends_a_training(self, world: World) -> None:
        flow = await world.wheel.flow(TRAIN)
        dataset = await world.wheel.dataset("catalogue", _labeled(1, 2))
        await world.settle()
        [command] = world.bus.sent(catalog.TRAIN_MODEL)
        assert (command.model, command.recipe) == ("catalogue", "classification")
        assert dict(command.parameters) == {"epochs": 12, "lr": 0.1}
        assert (command.dataset, command.flow) == (dataset.ref, flow.ref)
        assert (command.actor.kind, command.actor.name) == ("flow", "catalogue")
        [record] = world.bus.streams[Stream.WORK].records
        assert record.subject == "loopline.default.cmd.train.gpu"
        assert record.headers["ce-id"] == f"{flow.ref.digest}/retrain/{dataset.ref.digest}@1"

    async def test_rule_that_does_not_hold_sends_nothing(self, world: World) -> None:
        await world.wheel.flow(TRAIN)
        await world.wheel.dataset("catalogue", _labeled(1))
        await world.wheel.dataset("other", _labeled(1, 2, 3))
        await world.settle()
        assert world.bus.sent(catalog.TRAIN_MODEL) == []

    async def test_a_version_without_new_labels_does_not_train(self, world: World) -> None:
        await world.wheel.flow(TRAIN)
        await world.wheel.dataset("catalogue", _labeled(1, 2))
        await world.wheel.dataset("catalogue", [flywheel.item(3)])
        await world.settle()
        assert [c.dataset.version for c in world.bus.sent(catalog.TRAIN_MODEL)] == [1]

    async def test_a_flow_reacts_to_what_comes_after_it(self, world: World) -> None:
        """Also when the event is delivered again after the flow was put."""
        dataset = await world.wheel.dataset("catalogue", _labeled(1, 2))
        flow = await world.wheel.flow(TRAIN)
        assert flow.sequence > dataset.sequence
        await world.settle()
        assert world.bus.sent(catalog.TRAIN_MODEL) == []

    async def test_redelivery_decides_by_the_flow_of_then(self, world: World) -> None:
        first = await world.wheel.flow(TRAIN)
        dataset = await world.wheel.dataset("catalogue", _labeled(1, 2))
        await world.settle()
        await world.wheel.flow(TRAIN.replace("epochs: 12", "epochs: 99"))
        again = delivery(dataset.sequence, attempt=2)
        await world.router.on_dataset_committed(dataset.message, again)
        [command] = world.bus.sent(catalog.TRAIN_MODEL)
        assert command.flow == first.ref

    async def test_rule_that_fails_is_reported_and_the_others_fire(self, world: World) -> None:
        failing = '  - {name: bad, when: "dataset.tags.x > 0", model: m, recipe: r}\n'
        await world.wheel.flow(TRAIN + failing)
        await world.wheel.dataset("catalogue", _labeled(1, 2))
        await world.settle()
        assert len(world.bus.sent(catalog.TRAIN_MODEL)) == 1
        [report] = world.bus.sent(catalog.RUN_CHANGED)
        assert report.state == RunState.RUN_STATE_FAILED
        assert "there is no field 'x' here" in report.message
        assert report.title == "catalogue: rule 'bad' on catalogue@v1"

    async def test_a_flow_that_cannot_be_read_does_not_stop_the_others(self, world: World) -> None:
        good = await world.wheel.flow(TRAIN)
        broken = good.message.__class__.FromString(good.message.SerializeToString())
        broken.document = "flow: [broken"
        broken.commit.run.id = "other"
        await world.wheel._commit(catalog.FLOW_COMMITTED, broken, name="broken")
        await world.wheel.dataset("catalogue", _labeled(1, 2))
        await world.settle()
        assert len(world.bus.sent(catalog.TRAIN_MODEL)) == 1


class TestOnModelCommitted:
    async def test_first_version_becomes_champion(self, world: World) -> None:
        flow = await world.wheel.flow(PROMOTE)
        model = await world.wheel.model("catalogue", "a", {"accuracy": 0.8})
        await world.settle()
        moved = await _champion(world)
        assert moved is not None
        assert (moved.message.target, moved.ref.version) == (model.ref, 1)
        assert (moved.ref.name, moved.ref.digest) == ("catalogue/champion", model.ref.digest)
        assert not moved.message.HasField("previous")
        assert [(ref.role, ref.name) for ref in moved.commit.run.inputs] == [
            ("candidate", "catalogue"),
            ("flow", flow.ref.name),
        ]

    async def test_better_version_replaces_it_and_the_reason_has_the_figures(
        self, world: World
    ) -> None:
        await world.wheel.flow(PROMOTE)
        first = await world.wheel.model("catalogue", "a", {"accuracy": 0.8})
        await world.settle()
        second = await world.wheel.model("catalogue", "b", {"accuracy": 0.85})
        await world.settle()
        moved = await _champion(world)
        assert moved is not None
        assert (moved.message.target, moved.message.previous) == (second.ref, first.ref)
        assert "candidate.metrics.accuracy = 0.85" in moved.message.reason
        assert "champion.metrics.accuracy = 0.8" in moved.message.reason

    @pytest.mark.parametrize(
        ("accuracy", "split", "reason"),
        [
            pytest.param(0.7, "5" * 64, "is false with has_champion = true", id="worse"),
            pytest.param(0.9, "6" * 64, "their figures do not compare", id="another test split"),
            pytest.param(0.9, "", "was not evaluated on the test split", id="not evaluated"),
        ],
    )
    async def test_other_versions_are_declined_with_the_reason(
        self, world: World, accuracy: float, split: str, reason: str
    ) -> None:
        flow = await world.wheel.flow(PROMOTE)
        first = await world.wheel.model("catalogue", "a", {"accuracy": 0.8})
        await world.settle()
        second = await world.wheel.model(
            "catalogue", "b", {"accuracy": accuracy}, split_digest=split
        )
        await world.settle()
        moved = await _champion(world)
        assert moved is not None
        assert moved.message.target == first.ref
        [declined] = world.bus.sent(catalog.PROMOTION_DECLINED)
        assert (declined.candidate, declined.champion) == (second.ref, first.ref)
        assert (declined.alias, declined.flow) == ("champion", flow.ref)
        assert reason in declined.reason

    async def test_declined_while_the_alias_points_nowhere(self, world: World) -> None:
        await world.wheel.flow(PROMOTE.replace("!has_champion ||", "has_champion &&"))
        await world.wheel.model("catalogue", "a", {"accuracy": 0.8})
        await world.settle()
        assert await _champion(world) is None
        [declined] = world.bus.sent(catalog.PROMOTION_DECLINED)
        assert not declined.HasField("champion")

    async def test_rule_is_asked_again_when_somebody_else_moved_the_alias(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The better one of two versions wins, whichever is decided on first."""
        await world.wheel.flow(PROMOTE)
        good = await world.wheel.model("catalogue", "good", {"accuracy": 0.9})
        worse = await world.wheel.model("catalogue", "worse", {"accuracy": 0.6})
        append = MemoryLog.append
        raced = False

        async def race(self: MemoryLog, subject: str, *args: object) -> int:
            nonlocal raced
            if ".alias." in subject and not raced:
                raced = True
                await world.wheel.alias(good)
            return await append(self, subject, *args)  # type: ignore[arg-type]

        monkeypatch.setattr(MemoryLog, "append", race)
        await world.router.on_model_committed(worse.message, delivery(worse.sequence))
        moved = await _champion(world)
        assert raced
        assert moved is not None
        assert moved.message.target == good.ref
        [declined] = world.bus.sent(catalog.PROMOTION_DECLINED)
        assert declined.champion == good.ref

    async def test_redelivery_does_not_undo_what_people_did(self, world: World) -> None:
        await world.wheel.flow(PROMOTE)
        first = await world.wheel.model("catalogue", "a", {"accuracy": 0.8})
        second = await world.wheel.model("catalogue", "b", {"accuracy": 0.9})
        await world.settle()
        await world.wheel.alias(first)
        for model in (first, second):
            again = delivery(model.sequence, attempt=2)
            await world.router.on_model_committed(model.message, again)
        moved = await _champion(world)
        assert moved is not None
        assert moved.message.target == first.ref
        assert world.bus.sent(catalog.PROMOTION_DECLINED) == []

    async def test_model_of_another_name_is_not_its_matter(self, world: World) -> None:
        await world.wheel.flow(PROMOTE)
        await world.wheel.model("other", "a", {"accuracy": 0.8})
        await world.settle()
        assert await world.router.log.heads(catalog.ALIAS_MOVED) == []
        assert world.bus.sent(catalog.PROMOTION_DECLINED) == []


class TestOnAliasMoved:
    async def test_model_is_applied_to_the_dataset(self, world: World) -> None:
        flow = await world.wheel.flow(APPLY)
        dataset = await world.wheel.dataset("catalogue", _labeled(1))
        model = await world.wheel.model("catalogue", "a", {})
        await world.wheel.alias(model)
        await world.settle()
        [command] = world.bus.sent(catalog.APPLY_MODEL)
        assert (command.model, command.dataset, command.flow) == (
            model.ref,
            dataset.ref,
            flow.ref,
        )
        assert command.where == "!item.labeled"
        assert world.bus.streams[Stream.WORK].records[0].subject.endswith(".apply.cpu")

    async def test_dataset_is_the_one_of_then(self, world: World) -> None:
        """A message that comes late, or twice, asks for the same."""
        await world.wheel.flow(APPLY)
        dataset = await world.wheel.dataset("catalogue", _labeled(1))
        moved = await world.wheel.alias(await world.wheel.model("catalogue", "a", {}))
        await world.wheel.dataset("catalogue", _labeled(2))
        await world.router.on_alias_moved(moved.message, delivery(moved.sequence))
        await world.router.on_alias_moved(moved.message, delivery(moved.sequence, attempt=2))
        [command] = world.bus.sent(catalog.APPLY_MODEL)
        assert command.dataset == dataset.ref

    async def test_moving_back_applies_again(self, world: World) -> None:
        await world.wheel.flow(APPLY)
        await world.wheel.dataset("catalogue", _labeled(1))
        first = await world.wheel.model("catalogue", "a", {})
        second = await world.wheel.model("catalogue", "b", {})
        for model in (first, second, first):
            await world.wheel.alias(model)
        await world.settle()
        applied = [command.model.version for command in world.bus.sent(catalog.APPLY_MODEL)]
        assert applied == [1, 2, 1]

    async def test_other_aliases_and_absent_datasets_are_left_alone(self, world: World) -> None:
        await world.wheel.flow(APPLY)
        model = await world.wheel.model("catalogue", "a", {})
        await world.wheel.alias(model)
        await world.settle()
        await world.wheel.dataset("other", _labeled(1))
        await world.wheel.alias(model, "challenger")
        await world.settle()
        assert world.bus.sent(catalog.APPLY_MODEL) == []

    async def test_items_that_come_later_are_predicted_too(self, world: World) -> None:
        flow = await world.wheel.flow(APPLY)
        first = await world.wheel.dataset("catalogue", _labeled(1))
        model = await world.wheel.model("catalogue", "a", {})
        await world.wheel.alias(model)
        second = await world.wheel.dataset("catalogue", [*_labeled(1), flywheel.item(2)])
        await world.settle()
        of_alias, of_items = sorted(
            world.bus.sent(catalog.APPLY_MODEL), key=lambda c: c.dataset.version
        )
        assert (of_alias.dataset, of_alias.HasField("since")) == (first.ref, False)
        assert (of_items.dataset, of_items.since) == (second.ref, first.ref)
        assert (of_items.model, of_items.flow) == (model.ref, flow.ref)

    async def test_labels_alone_apply_nothing(self, world: World) -> None:
        """What was routed once would be routed again, into another labeling job."""
        await world.wheel.flow(APPLY)
        await world.wheel.dataset("catalogue", [flywheel.item(1)])
        await world.wheel.alias(await world.wheel.model("catalogue", "a", {}))
        await world.wheel.dataset("catalogue", _labeled(1))
        await world.settle()
        assert [c.dataset.version for c in world.bus.sent(catalog.APPLY_MODEL)] == [1]
