"""The SDK, over the service's own connections, acting for whoever is signed in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopline.access import Caller
from loopline.contracts import Actor
from loopline.runtime.service import Service

if TYPE_CHECKING:  # with gRPC and formats half a second: loaded by the first who changes something
    from loopline.client.datasets import DatasetVerbs
    from loopline.client.models import ModelVerbs
    from loopline.client.session import Session


def actor_of(caller: Caller) -> Actor:
    """Return who acts, for the log."""
    return Actor(kind="user", name=caller.name)


class Sdk:
    """Makes the SDK's verbs for a caller.

    Args:
        service: Whose connections are used; a service's rights are what its own user may.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def datasets(self, caller: Caller) -> DatasetVerbs:
        """Return the verbs of datasets, acting for a caller."""
        from loopline.client.datasets import DatasetVerbs

        return DatasetVerbs(self._session(caller))

    def models(self, caller: Caller) -> ModelVerbs:
        """Return the verbs of models, acting for a caller."""
        from loopline.client.models import ModelVerbs

        return ModelVerbs(self._session(caller))

    def _session(self, caller: Caller) -> Session:
        from loopline.client.session import Session
        from loopline.client.settings import ClientSettings

        service = self._service
        settings = ClientSettings(workspace=service.settings.workspace, user=caller.name)
        return Session.within(
            settings, log=service.log, bus=service.bus, objects=service.objects,
            clock=service.clock,
        )  # fmt: skip
