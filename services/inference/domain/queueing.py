"""What waits for an engine, and what of it goes into the next execution."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, Protocol, TypeVar

DEFAULT_PRIORITY = 100
"""Of a request that names none (0): 1 to 99 go before it, higher ones after."""


class Hold(IntEnum):
    """How long whoever starts a request may be held up by it, so that they may run it themselves.

    A thread that waits for the answer anyway may be held up for long. One that others wait for may
    be held up briefly: where running costs no more than handing over.
    """

    NEVER = 0
    BRIEFLY = 1
    LONG = 2


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """How requests share executions.

    Args:
        max_batch: Images in one execution; a larger request runs in slices of this.
        preferred: Images in one execution at which an image costs least; 0 for `max_batch`.
        max_delay_s: How long the first of a batch may wait for company. 0 is best on processors:
            what queues while the engine is busy makes the next batch, and nobody waits when it is
            not.
        instances: Executions at once.
        direct: Whether callers that can be held up run their requests themselves even where the
            engine is busy: a network that takes less than a change of threads gains nothing by
            batching.
        priority: Of requests that name none.
    """

    max_batch: int = 8
    preferred: int = 0
    max_delay_s: float = 0.0
    instances: int = 1
    direct: bool = False
    priority: int = DEFAULT_PRIORITY

    @property
    def size(self) -> int:
        """How many images are taken together where there are enough."""
        return min(self.preferred or self.max_batch, self.max_batch)


class Queued(Protocol):
    """A request in the queue."""

    @property
    def count(self) -> int:
        """Its images."""
        ...

    @property
    def since_ns(self) -> int:
        """When it came."""
        ...


Q = TypeVar("Q", bound=Queued)


class Queue(Generic[Q]):
    """Requests by priority, first come first served within one. Not thread-safe."""

    def __init__(self) -> None:
        self._levels: dict[int, deque[Q]] = {}
        self.images = 0

    def __bool__(self) -> bool:
        return self.images > 0

    def add(self, request: Q, priority: int = 0) -> None:
        """Queue a request."""
        level = priority or DEFAULT_PRIORITY
        if level not in self._levels:
            self._levels[level] = deque()
        self._levels[level].append(request)
        self.images += request.count

    def oldest_ns(self) -> int:
        """Return when the first of those that wait came; there must be one."""
        return min(level[0].since_ns for level in self._levels.values())

    def take(self, size: int) -> list[Q]:
        """Return the requests of the next execution: at most `size` images, at least a request."""
        batch: list[Q] = []
        images = 0
        for priority in sorted(self._levels) if len(self._levels) > 1 else list(self._levels):
            level = self._levels[priority]
            while level and (not batch or images + level[0].count <= size):
                request = level.popleft()
                images += request.count
                batch.append(request)
            if level:
                break
            del self._levels[priority]
        self.images -= images
        return batch
