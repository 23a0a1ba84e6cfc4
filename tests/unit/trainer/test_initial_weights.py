"""Fine-tuning through the service: where weights come from, and that the run says so."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.numpy

from loopline.contracts import AliasMoved, ArtefactKind, ModelCommitted, catalog
from loopline.digests import sha256_hex
from loopline.errors import LooplineError
from loopline.store.commits import Committed
from loopline.store.objects import Area
from loopline.testing.memory import delivery
from loopline.testing.products import Product
from services.trainer.adapters.initial_weights import WEIGHTS_FILE, WeightFiles
from tests.unit.trainer.test_service import Workshop, command, workshop

__all__ = ["workshop"]  # the fixture

pytestmark = [pytest.mark.usefixtures("with_house_recipes"), pytest.mark.timeout(600)]


async def trained(work: Workshop, initial_weights: str) -> Committed[ModelCommitted]:
    wanted = command()
    wanted.parameters.update({"initial_weights": initial_weights, "epochs": 1})
    await work.service.on_train_model(wanted, delivery())
    return await work.head()


async def weights_of(work: Workshop, model: Committed[ModelCommitted]) -> tuple[str, bytes]:
    [digest] = [file.digest for file in model.message.files if file.name == WEIGHTS_FILE]
    return digest, await work.service.objects.get(Area.MODELS, digest)


async def test_a_version_is_fine_tuned_by_name_alias_and_object(
    workshop: Workshop, small_catalogue: list[Product]
) -> None:
    dataset = await workshop.dataset(small_catalogue)
    first = await trained(workshop, "")
    digest, data = await weights_of(workshop, first)

    second = await trained(workshop, "products@v1")
    run = second.commit.run
    assert [(ref.name, ref.digest, ref.role) for ref in run.inputs if ref.role != "flow"] == [
        ("shop", dataset.ref.digest, "train_on"),
        ("products", first.ref.digest, "initial_weights"),
    ]
    assert run.figures["initial_tensors"] == len(safetensors.numpy.load(data))
    assert second.ref.digest != first.ref.digest

    async def moved(_: Committed[AliasMoved] | None) -> AliasMoved:
        message = AliasMoved(model="products", alias="champion", target=first.ref)
        message.commit.artefact.kind = ArtefactKind.ARTEFACT_KIND_ALIAS
        message.commit.artefact.name = "products/champion"
        message.commit.artefact.digest = first.ref.digest
        return message

    log = workshop.service.log
    await log.commit(catalog.ALIAS_MOVED, moved, model="products", alias="champion")
    # The alias is what it points to when the command is taken: the same work, done already.
    assert (await trained(workshop, "products@champion")).ref.version == second.ref.version

    third = await trained(workshop, f"object:{digest}")
    assert third.commit.run.figures["initial_tensors"] == run.figures["initial_tensors"]
    assert digest in [ref.digest for ref in third.commit.run.inputs]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        pytest.param("products@v7", "products", id="no such version"),
        pytest.param("products@best", "no alias 'best'", id="no such alias"),
        pytest.param("file:mine.safetensors", "there is no 'file:mine", id="no such file"),
        pytest.param("file:../../etc/passwd", "there is no 'file:", id="outside the folder"),
        pytest.param("object:123", "64 hex digits", id="no digest"),
        pytest.param("nonsense", "'nonsense' is not known", id="no source"),
    ],
)
async def test_weights_that_are_not_there_are_named(
    source: str, words: str, workshop: Workshop, small_catalogue: list[Product]
) -> None:
    await workshop.dataset(small_catalogue)
    with pytest.raises(LooplineError, match=words):
        await trained(workshop, source)


async def test_a_file_of_the_machine_is_known_by_its_bytes(
    workshop: Workshop, tmp_path: Path
) -> None:
    service = workshop.service
    files = WeightFiles(service.log, service.objects, tmp_path)
    (tmp_path / "mine.safetensors").write_bytes(b"weights")
    found = await files.find("file:mine.safetensors")
    [ref] = found.inputs
    assert (ref.digest, ref.role) == (sha256_hex(b"weights"), "initial_weights")
    assert await files.bring(found, tmp_path) == (tmp_path / "mine.safetensors").resolve()
