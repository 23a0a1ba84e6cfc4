"""`make bench [ONLY=name]`: run every benchmark, print its ratios, write .bench/results.json."""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(".bench/results.json")


def names() -> list[str]:
    """Return the benchmarks: the modules of this package that have a `run`."""
    package = Path(__file__).parent
    return sorted(
        m.name for m in pkgutil.iter_modules([str(package)]) if not m.name.startswith("_")
    )


def main() -> int:
    """Run the benchmarks; the exit status says whether every goal holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help=f"one of {', '.join(names())}")
    only = parser.parse_args().only
    if only and only not in names():
        parser.error(f"there is no benchmark {only!r}: {', '.join(names())}")
    known = {r["name"]: r for r in json.loads(RESULTS.read_text())} if RESULTS.exists() else {}
    fresh: list[dict[str, Any]] = []
    for name in [only] if only else names():
        module = importlib.import_module(f"tests.bench.{name}")
        fresh += module.run()
    show(fresh)
    known |= {result["name"]: result for result in fresh}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(list(known.values()), indent=1) + "\n")
    return 0 if all(result["holds"] is not False for result in fresh) else 1


def show(results: list[dict[str, Any]]) -> None:
    """Print results as a table."""
    table = Table("benchmark", "value", "unit", "goal", "holds", "against")
    for r in results:
        holds = {True: "[green]yes[/green]", False: "[red]no[/red]", None: ""}[r["holds"]]
        table.add_row(
            r["name"], f"{r['value']:,.4g}", r["unit"], str(r["goal"] or ""), holds, r["against"]
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    sys.exit(main())
