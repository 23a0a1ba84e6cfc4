"""Runs the console: `python -m services.console`."""

from loopline.runtime.service import run
from services.console.service import Console
from services.console.settings import ConsoleSettings

if __name__ == "__main__":
    run(Console, ConsoleSettings)
