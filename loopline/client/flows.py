"""`client.flow`: flows, validated before they are committed."""

from __future__ import annotations

from loopline.client.refs import parse_ref
from loopline.client.session import Session
from loopline.contracts import (
    ArtefactKind,
    ArtefactRef,
    Commit,
    FlowCommitted,
    RunKind,
    catalog,
)
from loopline.errors import NotFound
from loopline.store.commits import Committed, Unchanged

FlowVersion = Committed[FlowCommitted]


class FlowVerbs:
    """What can be done with flows."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def list(self) -> list[FlowVersion]:
        """Return the head of every flow."""
        return await self._session.log.heads(catalog.FLOW_COMMITTED)

    async def get(self, version: str) -> FlowVersion:
        """Return one version of a flow (`catalogue@v3`; its head without version)."""
        ref, tag = parse_ref(version, ArtefactKind.ARTEFACT_KIND_FLOW)
        if tag:
            raise NotFound(f"flows have versions, but no tags: {version!r}")
        return await self._session.log.version(catalog.FLOW_COMMITTED, ref, name=ref.name)

    async def put(self, document: str) -> FlowVersion:
        """Commit a flow document (YAML) as the flow's next version.

        The same one again changes nothing.

        Raises:
            Rejected: A field is unknown, or a rule does not compile; the message names the place.
        """
        from loopline.flows import Flow  # its compiler of rules takes 0.3 s to import

        flow = Flow.parse(document)
        run = await self._session.edit(RunKind.RUN_KIND_EDIT, flow.name, document=flow.digest)

        async def build(head: FlowVersion | None) -> FlowCommitted:
            if head is not None and head.ref.digest == flow.digest:
                raise Unchanged(f"the flow {flow.name} is that already")
            kind = ArtefactKind.ARTEFACT_KIND_FLOW
            ref = ArtefactRef(kind=kind, name=flow.name, digest=flow.digest)
            return FlowCommitted(
                commit=Commit(artefact=ref, run=run, summary=f"flow {flow.name} put"),
                document=document,
            )

        return await self._session.log.commit(catalog.FLOW_COMMITTED, build, name=flow.name)
