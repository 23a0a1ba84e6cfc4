"""Fuzz the request parsers with atheris, which follows the coverage (`pip install atheris`).

Usage: python -m tests.fuzz TARGET SECONDS [FOLDER]. FOLDER gets what is found on the way: what
reaches new code belongs into tests/fuzz/corpus/TARGET, where the tests replay it.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["services.inference", "loopline.errors", "tests.fuzz"]):
    from tests.fuzz.mutations import mutate_body, mutate_message
    from tests.fuzz.requests import TARGETS
    from tests.fuzz.seeds import seeds

STRUCTURED = 0.7  # of the mutations; the others change bytes
CORPUS = Path(__file__).parent / "corpus"


def mutator(target: str) -> Callable[[bytes, int, int], bytes]:
    """Return what makes another input of one."""
    change = mutate_body if target == "rest" else mutate_message

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        rng = random.Random(seed)
        changed = change(data, rng) if rng.random() < STRUCTURED else None
        mutated: bytes = atheris.Mutate(data, max_size) if changed is None else changed
        return mutated[:max_size]

    return mutate


def quietly(target: Callable[[bytes], bool]) -> Callable[[bytes], None]:
    """Return a target that returns nothing, as atheris wants it."""

    def run(data: bytes) -> None:
        target(data)

    return run


def main() -> None:
    """Fuzz one target."""
    target, seconds = sys.argv[1], int(sys.argv[2])
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(sys.argv[3] if len(sys.argv) > 3 else scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(seeds(target)):
            (folder / f"seed-{number}").write_bytes(seed)
        known = CORPUS / target
        options = [
            f"-max_total_time={seconds}",
            "-max_len=4096",
            "-timeout=20",
            "-print_final_stats=1",
        ]
        folders = [str(folder), *([str(known)] if known.exists() else [])]
        arguments = [sys.argv[0], *options, *folders]
        atheris.Setup(arguments, quietly(TARGETS[target]), custom_mutator=mutator(target))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
