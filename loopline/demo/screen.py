"""What the demo shows: one line per stage, with a bar while it runs.

Decides no step of the story.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn


class Stage:
    """One running step of the story."""

    def __init__(self, progress: Progress, task: TaskID, title: str) -> None:
        self._progress = progress
        self._task = task
        self.title = title
        self.result = ""

    def at(self, done: int, total: int, detail: str = "") -> None:
        """Move the bar."""
        self._progress.update(
            self._task, completed=done, total=total or None, detail=f"{done}/{total} {detail}"
        )

    def done(self, result: str) -> None:
        """Say what came out; shown when the stage ends."""
        self.result = result


class Screen:
    """Stages above, the running one with a bar below."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.seconds: dict[str, float] = {}
        self.current: Stage | None = None
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=28),
            TextColumn("[dim]{task.fields[detail]}"),
            console=console,
            transient=True,
        )

    def __enter__(self) -> Screen:
        """Start to draw."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop to draw."""
        self._progress.stop()

    @contextmanager
    def stage(self, key: str, title: str) -> Iterator[Stage]:
        """Show a stage while it runs and a line once it is over; its duration goes to `seconds`."""
        task = self._progress.add_task(title, total=None, detail="")
        stage = self.current = Stage(self._progress, task, title)
        started = time.monotonic()
        try:
            yield stage
        except BaseException:
            self.console.print(f"[red]✗[/red] [bold]{title}[/bold]")
            raise
        finally:
            self.current = None
            self._progress.remove_task(task)
        seconds = self.seconds[key] = time.monotonic() - started
        self.console.print(
            f"[green]✓[/green] [bold]{title}[/bold] [dim]{seconds:5.1f} s[/dim]  {stage.result}",
            highlight=False,
        )
