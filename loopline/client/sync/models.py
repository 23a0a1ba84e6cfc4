"""`client.model`: model versions, aliases, predictions.

Generated from `loopline.client.models` by `python -m loopline.client.generate`; do not edit.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from loopline.client import models as _models
from loopline.client.models import Aliases, ModelVersion, ModelVersions, Reproductions
from loopline.client.portal import Portal
from loopline.client.replay import Replayed
from loopline.contracts import (
    AliasMoved,
)
from loopline.contracts.inference.v1 import predict_pb2
from loopline.store.commits import Committed


class ModelVerbs:
    """What can be done with models. Versions are written `catalogue@v2` or `catalogue@champion`."""

    def __init__(self, portal: Portal, client: _models.ModelVerbs) -> None:
        self._portal = portal
        self._client = client

    def list(self) -> ModelVersions:
        """Return the last version of every model."""
        return self._portal.call(self._client.list())

    def log(self, name: str) -> ModelVersions:
        """Return a model's versions, newest first; NotFound if there is no such model."""
        return self._portal.call(self._client.log(name))

    def aliases(self, name: str) -> Aliases:
        """Return the heads of a model's aliases."""
        return self._portal.call(self._client.aliases(name))

    def get(self, version: str) -> ModelVersion:
        """Return one version; NotFound if there is none of that number or alias."""
        return self._portal.call(self._client.get(version))

    def promote(
        self, version: str, alias: str = "champion", reason: str = ""
    ) -> Committed[AliasMoved]:
        """Move an alias to a version by hand; moving it back is a rollback."""
        return self._portal.call(self._client.promote(version, alias, reason))

    def rollback(
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
        return self._portal.call(self._client.rollback(name, alias, reason))

    def rollout(
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
        return self._portal.call(self._client.rollout(version, alias, canary, shadow, reason))

    def replay(self, version: str, images: int = 200) -> Replayed:
        """Ask a served version about recorded production requests, before an alias moves to it.

        Args:
            version: The version: "catalogue@v3".
            images: How many recorded images, the newest first.

        Raises:
            NotFound: There is no such version, or nothing was recorded of the model.
            Transient: It cannot be asked now.
        """
        return self._portal.call(self._client.replay(version, images))

    def reproductions(self, name: str) -> Reproductions:
        """Return the attempts to train versions of a model again, newest first."""
        return self._portal.call(self._client.reproductions(name))

    def download(self, version: str, file: str, path: Path) -> int:
        """Write a file of a model version ("model.onnx") to `path`; return its size in bytes."""
        return self._portal.call(self._client.download(version, file, path))

    def predict(
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
        return self._portal.call(self._client.predict(model, images, recorded=recorded))
