"""The application: every command, and one place where errors become a line and an exit status."""

from __future__ import annotations

import logging
import sys

import structlog
import typer

from loopline import __version__
from loopline.cli import (
    agent,
    augment,
    dataset,
    dead,
    demo,
    flow,
    job,
    lineage,
    model,
    people,
    platform,
    run,
    storage,
    work,
)
from loopline.cli.events import app as events_app
from loopline.cli.options import errors
from loopline.errors import LooplineError

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130

app = typer.Typer(
    no_args_is_help=True,
    help="Loopline: the data flywheel for computer vision.",
    pretty_exceptions_enable=False,
)
platform.register(app)
demo.register(app)
work.register(app)
app.add_typer(dataset.app, name="dataset")
app.add_typer(augment.app, name="augment")
app.add_typer(job.app, name="job")
app.command()(job.label)
app.add_typer(model.app, name="model")
app.add_typer(flow.app, name="flow")
app.add_typer(run.app, name="run")
app.add_typer(agent.app, name="agent")
run.register(app)
lineage.register(app)
storage.register(app)
app.add_typer(events_app, name="events")
app.add_typer(dead.app, name="dead")
app.add_typer(people.users, name="user")
app.add_typer(people.tokens, name="token")


@app.command()
def version() -> None:
    """Print Loopline's version."""
    typer.echo(__version__)


def main() -> None:
    """Run the command line."""
    # What the libraries log is for a service's log file; a person gets warnings, beside the answer.
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        app()
    except LooplineError as error:
        errors.print(f"[bold red]error:[/bold red] {error.message}", highlight=False)
        sys.exit(EXIT_FAILED)
    except ModuleNotFoundError as error:  # the base install is the SDK and the command line
        errors.print(
            f"[bold red]error:[/bold red] this command needs {error.name}: "
            "pip install 'loopline\\[all]'",
            highlight=False,
        )
        sys.exit(EXIT_FAILED)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
