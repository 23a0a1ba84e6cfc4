"""`client.model`: model versions, aliases, predictions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from loopline.client import inference
from loopline.client.refs import parse_ref, show_ref
from loopline.client.replay import Replayed, agrees
from loopline.client.session import Session
from loopline.contracts import (
    AliasMoved,
    ArtefactKind,
    ArtefactRef,
    Commit,
    ModelCommitted,
    ReproductionCommitted,
    RequestsSampled,
    Rollout,
    RunKind,
    SampledImage,
    catalog,
)
from loopline.contracts.catalog import Stream
from loopline.contracts.inference.v1 import predict_pb2
from loopline.errors import NotFound, Rejected
from loopline.names import validate_name
from loopline.store.commits import Committed, Unchanged
from loopline.store.logstore import JetStreamLog
from loopline.store.objects import Area

REPLAY_AT_ONCE = 16  # images in one request

ModelVersion = Committed[ModelCommitted]
ModelVersions = list[ModelVersion]  # within the class, `list` is the method
Aliases = list[Committed[AliasMoved]]
Reproductions = list[Committed[ReproductionCommitted]]


class ModelVerbs:
    """What can be done with models. Versions are written `catalogue@v2` or `catalogue@champion`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def list(self) -> ModelVersions:
        """Return the last version of every model."""
        return await self._session.log.heads(catalog.MODEL_COMMITTED)

    async def log(self, name: str) -> ModelVersions:
        """Return a model's versions, newest first; NotFound if there is no such model."""
        ref, _ = parse_ref(name, ArtefactKind.ARTEFACT_KIND_MODEL)
        history = await self._session.log.history(catalog.MODEL_COMMITTED, name=ref.name)
        if not history:
            raise NotFound(f"there is no model {name!r}", model=name)
        return history[::-1]

    async def aliases(self, name: str) -> Aliases:
        """Return the heads of a model's aliases."""
        return await self._session.log.heads(catalog.ALIAS_MOVED, model=name)

    async def get(self, version: str) -> ModelVersion:
        """Return one version; NotFound if there is none of that number or alias."""
        ref, alias = parse_ref(version, ArtefactKind.ARTEFACT_KIND_MODEL)
        if alias:
            head = await self._session.log.head(catalog.ALIAS_MOVED, model=ref.name, alias=alias)
            if head is None:
                raise NotFound(f"the model {ref.name!r} has no alias {alias!r}", alias=alias)
            ref = head.message.target
        return await self._session.log.version(catalog.MODEL_COMMITTED, ref, name=ref.name)

    async def promote(
        self, version: str, alias: str = "champion", reason: str = ""
    ) -> Committed[AliasMoved]:
        """Move an alias to a version by hand; moving it back is a rollback."""
        validate_name("alias", alias)
        target = (await self.get(version)).ref
        run = await self._session.edit(
            RunKind.RUN_KIND_DEPLOY, f"{target.name}/{alias}", _as_candidate(target)
        )

        async def build(head: Committed[AliasMoved] | None) -> AliasMoved:
            previous = head.message.target if head else None
            ends_rollout = head is not None and head.message.HasField("rollout")
            if previous is not None and previous.digest == target.digest and not ends_rollout:
                raise Unchanged(f"{alias} is {show_ref(target)} already")
            name = f"{target.name}/{alias}"
            kind = ArtefactKind.ARTEFACT_KIND_ALIAS
            return AliasMoved(
                commit=Commit(
                    artefact=ArtefactRef(kind=kind, name=name, digest=target.digest),
                    run=run,
                    summary=f"{alias} is now {show_ref(target)}",
                ),
                model=target.name,
                alias=alias,
                target=target,
                previous=previous,
                reason=reason or f"moved by {self._session.settings.user}",
            )

        return await self._session.log.commit(
            catalog.ALIAS_MOVED, build, model=target.name, alias=alias
        )

    async def rollback(
        self, name: str, alias: str = "champion", reason: str = ""
    ) -> Committed[AliasMoved]:
        """Move an alias back: to the version it pointed to before, or to be without a rollout.

        Args:
            name: The model.
            alias: The alias. Where a version stands beside its own (`rollout`), that ends.
            reason: Why; kept in the log.

        Raises:
            Rejected: It was never at another version.
            NotFound: There is no such model or alias.
        """
        history = await self._session.log.history(catalog.ALIAS_MOVED, model=name, alias=alias)
        if not history:
            raise NotFound(f"the model {name!r} has no alias {alias!r}", model=name)
        now = history[-1].message
        back = [now.target] if now.HasField("rollout") else _before(now.target, history)
        if not back:
            raise Rejected(f"{alias} of {name} was never at another version", model=name)
        reason = reason or f"rolled back by {self._session.settings.user}"
        return await self.promote(f"{name}@v{back[-1].version}", alias, reason)

    async def rollout(
        self,
        version: str,
        alias: str = "champion",
        canary: float = 0.0,
        shadow: float = 0.0,
        reason: str = "",
    ) -> Committed[AliasMoved]:
        """Put a version beside the one that an alias points to.

        `promote` to that version ends it, and so does `rollback`.

        Args:
            version: The second version: "catalogue@v3".
            alias: The alias.
            canary: Share of the requests that it answers, in [0, 1]; those with the same
                `sticky_key` parameter get the same version.
            shadow: Share of the other requests that it gets a copy of, in [0, 1]: its answers are
                compared, never returned.
            reason: Why; kept in the log.

        Raises:
            Rejected: A share is out of its range, or the alias points to that version.
            NotFound: There is no such version or alias.
        """
        validate_name("alias", alias)
        if not (0 <= canary <= 1 and 0 <= shadow <= 1):
            raise Rejected(f"shares lie in [0, 1], not {canary} and {shadow}")
        second = (await self.get(version)).ref
        name = f"{second.name}/{alias}"
        run = await self._session.edit(RunKind.RUN_KIND_DEPLOY, name, _as_candidate(second))

        async def build(head: Committed[AliasMoved] | None) -> AliasMoved:
            if head is None:
                raise NotFound(f"the model {second.name!r} has no alias {alias!r}", alias=alias)
            target = head.message.target
            if target.digest == second.digest:
                raise Rejected(f"{alias} is {show_ref(second)} already")
            shares = f"canary {canary:.0%}, shadow {shadow:.0%}"
            kind = ArtefactKind.ARTEFACT_KIND_ALIAS
            return AliasMoved(
                commit=Commit(
                    artefact=ArtefactRef(kind=kind, name=name, digest=target.digest),
                    run=run,
                    summary=f"{show_ref(second)} beside {alias} {show_ref(target)}: {shares}",
                ),
                model=target.name,
                alias=alias,
                target=target,
                previous=target,
                reason=reason or f"rolled out by {self._session.settings.user}",
                rollout=Rollout(candidate=second, canary=canary, shadow=shadow),
            )

        return await self._session.log.commit(
            catalog.ALIAS_MOVED, build, model=second.name, alias=alias
        )

    async def replay(self, version: str, images: int = 200) -> Replayed:
        """Ask a served version about recorded production requests, before an alias moves to it.

        Args:
            version: The version: "catalogue@v3".
            images: How many recorded images, the newest first.

        Raises:
            NotFound: There is no such version, or nothing was recorded of the model.
            Transient: It cannot be asked now.
        """
        ref = (await self.get(version)).ref
        recorded = list((await self._recorded(ref)).values())[-images:]
        if not recorded:
            raise NotFound(f"no requests to {ref.name!r} are recorded: set LOOPLINE_SAMPLE_SHARE")
        agreed = failed = 0
        for start in range(0, len(recorded), REPLAY_AT_ONCE):
            some = recorded[start : start + REPLAY_AT_ONCE]
            files = await self._session.objects.get_many(Area.ASSETS, [one.asset for one in some])
            # What a trial says is no answer of production: the next trial must not meet it.
            answer = await self.predict(f"{ref.name}@v{ref.version}", files, recorded=False)
            for one, said in zip(some, answer.predictions, strict=True):
                failed += bool(said.error)
                agreed += not said.error and agrees(one, said)
        return Replayed(show_ref(ref), len(recorded) - failed, agreed, failed)

    async def _recorded(self, version: ArtefactRef) -> dict[str, SampledImage]:
        """Return the images that other versions of its model were asked about, the newest last.

        What it answered itself, as a canary, would only agree with it.
        """
        workspace = self._session.settings.workspace
        subject = catalog.REQUESTS_SAMPLED.subject(workspace, model=version.name)
        events = JetStreamLog(self._session.nats, Stream.EVENTS)
        found: dict[str, SampledImage] = {}
        async for record in events.read([subject]):
            event = RequestsSampled.FromString(record.data)
            for image in event.images if event.model.digest != version.digest else ():
                found.pop(image.asset, None)
                found[image.asset] = image
        return found

    async def reproductions(self, name: str) -> Reproductions:
        """Return the attempts to train versions of a model again, newest first."""
        history = await self._session.log.history(catalog.REPRODUCTION_COMMITTED, model=name)
        return history[::-1]

    async def download(self, version: str, file: str, path: Path) -> int:
        """Write a file of a model version ("model.onnx") to `path`; return its size in bytes."""
        found = await self.get(version)
        for entry in found.message.files:
            if entry.name == file:
                data = await self._session.objects.get(Area.MODELS, entry.digest)
                return await asyncio.to_thread(path.write_bytes, data)
        known = ", ".join(entry.name for entry in found.message.files)
        raise NotFound(f"{version} has no file {file!r}; it has {known}", file=file)

    async def predict(
        self, model: str, images: Sequence[bytes], *, recorded: bool = True
    ) -> predict_pb2.PredictResponse:
        """Ask a served model about encoded images (JPEG, PNG, WebP).

        Args:
            model: "catalogue" for its champion, or "catalogue@v2".
            images: The encoded images; a bad one gets an `error` of its own in the answer.
            recorded: Whether the server may record it as a request of production.

        Raises:
            Rejected: The model is not known, or the request is too large.
            Transient: The server cannot be reached or is busy.
        """
        ref, alias = parse_ref(model, ArtefactKind.ARTEFACT_KIND_MODEL)
        request = predict_pb2.PredictRequest(
            model=ref.name,
            version=alias or str(ref.version or ""),
            images=images,
            unrecorded=not recorded,
        )
        return await inference.predict(self._session.settings, request)


def _before(target: ArtefactRef, history: Aliases) -> Sequence[ArtefactRef]:
    """Return where an alias pointed before it pointed to `target`, the last one at the end."""
    pointed = [move.message.target for move in history]
    return [ref for ref in pointed if ref.digest != target.digest]


def _as_candidate(ref: ArtefactRef) -> ArtefactRef:
    taken = ArtefactRef()
    taken.CopyFrom(ref)
    taken.role = "candidate"
    return taken
