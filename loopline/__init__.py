"""Loopline: the data flywheel for computer vision, closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loopline.client.aio import AsyncLoopline
    from loopline.client.sync import Loopline

__version__ = "0.1.0"
__all__ = ["AsyncLoopline", "Loopline", "__version__"]


def __getattr__(name: str) -> Any:  # a class
    """Import the SDK when it is first asked for: services don't need it."""
    if name == "AsyncLoopline":
        from loopline.client.aio import AsyncLoopline

        return AsyncLoopline
    if name == "Loopline":
        from loopline.client.sync import Loopline

        return Loopline
    raise AttributeError(f"module 'loopline' has no attribute {name!r}")
