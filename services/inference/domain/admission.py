"""How much is let in: the bounds of a request, and of what waits for the engine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from loopline.errors import Transient


class Exhausted(Transient):
    """The server has as much work as it may hold; the client should slow down."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one request.

    Args:
        batch_images: Images in one request.
        image_pixels: Pixels of one encoded image, told from its header before it is decoded.
        request_timeout_s: Longest time for a request whose client set no deadline.
    """

    batch_images: int = 64
    image_pixels: int = 50_000_000
    request_timeout_s: float = 60.0


class Retired(Transient):
    """The model version was unloaded between being found and being asked: find it again."""


class Admission:
    """Counts the images inside a servable, and refuses what would be too much. Thread-safe.

    It is also what an unload waits for: once retired, nothing more comes in, and the last one to
    leave closes the door.

    Args:
        capacity_images: Images inside at once.
        close: Called once, when it is retired and empty.
    """

    def __init__(self, capacity_images: int, close: Callable[[], None]) -> None:
        self.capacity_images = capacity_images
        self._close = close
        self._inside = 0
        self._refused = 0
        self._retired = False
        self._lock = threading.Lock()

    @property
    def inside(self) -> int:
        """Images admitted that did not leave yet."""
        return self._inside

    @property
    def refused(self) -> int:
        """Requests that were refused because too much was inside."""
        return self._refused

    def enter(self, images: int) -> None:
        """Let a request in.

        Raises:
            Exhausted: Its images and those inside are more than the capacity.
            Retired: `retire` was called.
        """
        with self._lock:
            if self._retired:
                raise Retired("the model version was just unloaded; ask again")
            if self._inside + images > self.capacity_images:
                self._refused += 1
                raise Exhausted(
                    f"{self._inside} images wait for this model already and it takes "
                    f"{self.capacity_images}: {images} more are refused; try again later"
                )
            self._inside += images

    def leave(self, images: int) -> None:
        """Take back what `enter` counted."""
        with self._lock:
            self._inside -= images
            closes = self._retired and self._inside == 0
        if closes:
            self._close()

    def retire(self) -> None:
        """Let nothing more in."""
        with self._lock:
            closes = not self._retired and self._inside == 0
            self._retired = True
        if closes:
            self._close()
