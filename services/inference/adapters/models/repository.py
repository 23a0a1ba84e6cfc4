"""The model versions in memory: loaded by aliases and by need, unloaded by budget.

An alias that moves makes the new version load and warm up beside the old one; only then requests
without a version go to the new one. The old one stays until the budget wants its place, so that
moving back is instant. State changes on the event loop; requests read it from their own threads.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from loopline.clock import Clock
from loopline.errors import LooplineError, NotFound, Rejected, Transient
from services.inference.adapters.models.servable import Servable
from services.inference.domain.model import CHAMPION, AliasTarget, ModelVersion, VersionKey
from services.inference.domain.residency import Budget, Resident, to_unload

LOAD_TIMEOUT_S: Final = 60.0
LOADS_AT_ONCE: Final = 2
RETRY_S: Final = (
    0.2,
    1.0,
    5.0,
    15.0,
)  # between attempts to load an alias's target; the last one repeats
FAILURES_KEPT: Final = 256
FAILURE_KEPT_S: Final = (
    2.0  # a client that insists on a version that cannot load costs one attempt per this
)
RECALL_S: Final = 10.0  # between attempts to have a rollout's version back

log = structlog.get_logger()


class WouldBlock(Exception):
    """A version has to be loaded first, and who asks cannot wait."""


class ModelSource(Protocol):
    """Where model versions come from."""

    async def find(self, name: str, version: int = 0, digest: str = "") -> ModelVersion:
        """Return a version; NotFound if there is none."""
        ...

    async def onnx(self, model: ModelVersion) -> bytes:
        """Return its ONNX file, checked against its digest."""
        ...


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """A model version the server knows: "READY", "LOADING" or "UNAVAILABLE" with the reason."""

    key: VersionKey
    state: str
    reason: str = ""


class ModelRepository:
    """Holds servables.

    Args:
        source: Where versions come from.
        build: Makes a warm servable of a version and its ONNX file; blocks, so it runs in a thread.
        budget: What may be loaded at once.
        clock: Time.
    """

    def __init__(
        self,
        source: ModelSource,
        build: Callable[[ModelVersion, bytes], Servable],
        budget: Budget,
        clock: Clock,
    ) -> None:
        self._source = source
        self._build = build
        self._budget = budget
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        # Threads of its own: those of the loop may all be waiting for a model.
        self._builders = ThreadPoolExecutor(LOADS_AT_ONCE, thread_name_prefix="load")
        self._lock = threading.Lock()
        self._loaded: OrderedDict[VersionKey, Servable] = OrderedDict()  # least recently used first
        self._wanted: dict[tuple[str, str], AliasTarget] = {}  # where each alias points by the log
        self._served: dict[tuple[str, str], AliasTarget] = {}  # where it points for requests
        self._following: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._loading: dict[VersionKey, asyncio.Task[Servable]] = {}
        self._failures: OrderedDict[VersionKey, tuple[float, LooplineError]] = OrderedDict()
        self._recalled: dict[VersionKey, float] = {}  # until when it is not loaded once more
        self._held: set[str] = set()  # models a client unloaded: refused until loaded or moved

    async def follow(self, target: AliasTarget) -> None:
        """Make an alias point to a version, once that is loaded; return when it does or cannot.

        A move that is older than the one known is ignored. A version that cannot be read for now is
        tried again until it can or the alias moves on.
        """
        alias = (target.model, target.alias)
        known = self._wanted.get(alias)
        if known is not None and known.sequence >= target.sequence:
            return
        self._wanted[alias] = target
        if alias in self._following:
            self._following[alias].cancel()
        task = asyncio.create_task(self._switch(target))
        self._following[alias] = task
        await asyncio.wait([task])

    def find(self, name: str, version: str = "", *, blocks: bool = True) -> Servable:
        """Return what serves a version, loading it if need be.

        Args:
            name: The model.
            version: A number, an alias, or empty for the champion.
            blocks: Whether to wait until it is loaded: not on an event loop.

        Raises:
            WouldBlock: It would have to wait.
            NotFound: There is no such model, version or alias.
            Transient: It cannot be loaded now.
        """
        key = self.resolve(name, version)
        if name in self._held:
            raise Transient(f"{name} was unloaded: load it again, or move an alias of it")
        servable = self.resident(key)
        if servable is not None:
            return servable
        if not blocks:
            raise WouldBlock
        loading = asyncio.run_coroutine_threadsafe(self.load(key), self._loop)
        try:
            return loading.result(LOAD_TIMEOUT_S)
        except TimeoutError as error:
            loading.cancel()
            raise Transient(f"{key} did not load within {LOAD_TIMEOUT_S:.0f} s") from error
        except NotFound:
            raise
        except Rejected as error:  # a broken version is not the client's fault
            raise Transient(f"{key} cannot be served: {error.message}", model=name) from error

    def load_model(self, name: str) -> None:
        """Load a model's champion, and serve the model again if it was unloaded. Blocks.

        Raises:
            NotFound: It has no champion.
            Transient: That cannot be loaded now.
        """
        self._held.discard(name)
        self.find(name)

    def unload_model(self, name: str) -> None:
        """Let every version of a model go, and refuse it until it is loaded or an alias moves.

        Requests inside are still answered. Applications to datasets load what they need.

        Raises:
            NotFound: Nothing of it is loaded, and no alias of it is known.
        """
        with self._lock:
            found = [self._loaded.pop(key) for key in list(self._loaded) if key.model == name]
        if not found and not any(model == name for model, _ in self._wanted):
            raise NotFound(f"there is no model {name!r}", model=name)
        self._held.add(name)
        for servable in found:
            log.info("model_unloaded", model=name, version=servable.model.version)
            servable.retire()

    def resolve(self, name: str, version: str = "") -> VersionKey:
        """Return the version that a name and a version, alias or nothing mean.

        Raises:
            NotFound: There is no such alias.
            Transient: The alias's first target is not loaded yet.
        """
        if version.isdecimal() and len(version) < 19:
            return VersionKey(name, int(version))
        alias = version or CHAMPION
        served = self._served.get((name, alias))
        if served is not None:
            return served.key
        wanted = self._wanted.get((name, alias))
        if wanted is None:
            raise NotFound(
                f"there is no model {name!r} with an alias {alias!r}", model=name, alias=alias
            )
        failure = self._failures.get(wanted.key)
        reason = f"cannot be loaded: {failure[1].message}" if failure else "is being loaded"
        raise Transient(f"{wanted.key}, the {alias} of {name}, {reason}")

    def knows(self, name: str) -> bool:
        """Tell whether a model of that name has an alias, or is loaded."""
        return any(model == name for model, _ in list(self._wanted)) or any(
            key.model == name for key in list(self._loaded)
        )

    def target(self, name: str, alias: str) -> AliasTarget | None:
        """Return where an alias points for requests now; None where it points nowhere yet."""
        return self._served.get((name, alias))

    def targets(self) -> list[AliasTarget]:
        """Return where all aliases point for requests now."""
        return list(self._served.values())

    def resident(self, key: VersionKey) -> Servable | None:
        """Return a loaded version and count it as used, or None."""
        with self._lock:
            servable = self._loaded.get(key)
            if servable is not None:
                self._loaded.move_to_end(key)
            return servable

    def recall(self, key: VersionKey) -> None:
        """Load a version again that made room or could not be read; never holds who asks up.

        At most every `RECALL_S`: where the budget is too small, each load pushes another one out.
        """
        now_s = self._clock.monotonic_s()
        with self._lock:
            self._recalled = {
                k: until_s for k, until_s in self._recalled.items() if now_s < until_s
            }
            if key in self._recalled or key.model in self._held:
                return
            self._recalled[key] = now_s + RECALL_S
        asyncio.run_coroutine_threadsafe(self._load_beside(key), self._loop)

    def loaded(self) -> list[Servable]:
        """Return what is loaded, by name and version."""
        with self._lock:
            return [self._loaded[key] for key in sorted(self._loaded)]

    def index(self) -> list[IndexEntry]:
        """Return every version that is loaded, loading, or should be, by name and version."""
        entries = {s.model.key: IndexEntry(s.model.key, "READY") for s in self.loaded()}
        for key in list(self._loading):
            entries.setdefault(key, IndexEntry(key, "LOADING"))
        for target in list(self._wanted.values()):
            failure = self._failures.get(target.key)
            reason = failure[1].message if failure else "unloaded"
            entries.setdefault(target.key, IndexEntry(target.key, "UNAVAILABLE", reason))
        return [entries[key] for key in sorted(entries)]

    async def load(self, key: VersionKey, digest: str = "") -> Servable:
        """Return a version, loaded and warm; concurrent calls share one load.

        Args:
            key: The version.
            digest: What its digest must be; anything if empty.

        Raises:
            NotFound: There is no such version, or its file is gone.
            Rejected: It has another digest, its bytes are corrupt, or the engine cannot run it.
            Transient: It cannot be read now.
        """
        servable = self.resident(key)
        if servable is None:
            self._raise_known_failure(key)
            if key not in self._loading:
                self._loading[key] = asyncio.create_task(self._load(key))
            servable = await asyncio.shield(self._loading[key])
        if digest and servable.model.digest != digest:
            raise Rejected(f"{key} has the digest {servable.model.digest}, not {digest}")
        return servable

    def close(self) -> None:
        """Stop following; answer what is inside and let everything go."""
        for task in [*self._following.values(), *self._loading.values()]:
            task.cancel()
        with self._lock:
            servables = list(self._loaded.values())
            self._loaded.clear()
        for servable in servables:
            servable.retire()
        self._builders.shutdown(wait=False, cancel_futures=True)

    async def _switch(self, target: AliasTarget) -> None:
        alias = (target.model, target.alias)
        attempt = 0
        while True:
            try:
                await self.load(target.key, target.digest)
                break
            except Transient as error:
                log.warning("alias_target_not_loaded", alias="/".join(alias), reason=error.message)
                await asyncio.sleep(RETRY_S[min(attempt, len(RETRY_S) - 1)])
                attempt += 1
            except LooplineError as error:
                log.warning("alias_target_unusable", alias="/".join(alias), reason=error.message)
                return
        await self._load_second(target)
        self._served[alias] = target
        self._held.discard(target.model)
        log.info(
            "alias_followed",
            alias="/".join(alias),
            version=target.key.version,
            digest=target.digest,
        )

    async def _load_second(self, target: AliasTarget) -> None:
        """Load a rollout's version; the target serves without it where that fails."""
        if target.rollout is None:
            return
        await self._load_beside(target.rollout.key, target.rollout.digest)

    async def _load_beside(self, key: VersionKey, digest: str = "") -> None:
        try:
            await self.load(key, digest)
        except LooplineError as error:
            log.warning("rollout_not_loaded", version=str(key), reason=error.message)

    async def _load(self, key: VersionKey) -> Servable:
        try:
            model = await self._source.find(key.model, key.version)
            onnx = await self._source.onnx(model)
            servable = await self._loop.run_in_executor(self._builders, self._build, model, onnx)
        except MemoryError as error:
            raise Transient(f"not enough memory to load {key}", model=key.model) from error
        except Transient:
            raise
        except LooplineError as error:
            self._keep_failure(key, error)
            raise
        finally:
            self._loading.pop(key, None)
        self._failures.pop(key, None)
        self._admit(servable)
        return servable

    def _admit(self, servable: Servable) -> None:
        """Put a servable into its place, and retire what the budget has no room for."""
        key = servable.model.key
        pinned = {target.key for target in self._wanted.values()}
        pinned |= {t.rollout.key for t in self._wanted.values() if t.rollout is not None}
        with self._lock:
            self._loaded[key] = servable
            residents = [Resident(k, s.engine.size_bytes) for k, s in self._loaded.items()]
            retired = [self._loaded.pop(k) for k in to_unload(residents, self._budget, pinned, key)]
        log.info(
            "model_loaded",
            model=key.model,
            version=key.version,
            providers=servable.engine.providers,
            batch=servable.policy.size,
            instances=servable.policy.instances,
            size_bytes=servable.engine.size_bytes,
        )
        for old in retired:
            log.info("model_unloaded", model=old.model.name, version=old.model.version)
            old.retire()

    def _keep_failure(self, key: VersionKey, error: LooplineError) -> None:
        self._failures[key] = (self._clock.monotonic_s() + FAILURE_KEPT_S, error)
        while len(self._failures) > FAILURES_KEPT:
            self._failures.popitem(last=False)

    def _raise_known_failure(self, key: VersionKey) -> None:
        known = self._failures.get(key)
        if known is not None and self._clock.monotonic_s() < known[0]:
            raise known[1]
