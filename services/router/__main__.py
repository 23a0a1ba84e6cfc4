"""Runs the router: `python -m services.router`."""

from loopline.runtime.service import run
from services.router.service import Router
from services.router.settings import RouterSettings

if __name__ == "__main__":
    run(Router, RouterSettings)
