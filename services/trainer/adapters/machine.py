"""What a training runs on, as far as its bits depend on it: recorded with every run."""

from __future__ import annotations

import importlib.metadata
from functools import lru_cache

from loopline.contracts import Environment
from loopline.runtime.devices import cpu_features, cpu_name
from loopline.store import runs
from services.trainer.domain.job import Described


def machine(described: Described) -> Environment:
    """Return the environment of a training on this machine."""
    environment = runs.environment(described.code_digest)
    environment.cpu = cpu_name()
    environment.cpu_features.extend(cpu_features())
    environment.threads = int(described.parameters["threads"])
    environment.packages.update(packages())
    return environment


@lru_cache
def packages() -> dict[str, str]:
    """Return the versions of the installed packages, by name."""
    found = importlib.metadata.distributions()
    return {distribution.name: distribution.version for distribution in found}
