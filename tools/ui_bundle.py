"""Holds the console's first page to its limit: what a browser loads before it shows anything.

The entry script, what it imports, the pages that open first, their styles and the font.
"""

from __future__ import annotations

import gzip
import re
import sys
from pathlib import Path

STATIC = Path(__file__).parents[1] / "services" / "console" / "static"
LIMIT_BYTES = 500_000
FIRST_PAGES = ("WorkflowPage",)
IMPORTED = re.compile(r"""(?:import|from)\s*["']\./([^"']+\.js)["']""")
NAMED = re.compile(r"/static/(assets/[^\"']+)")


def first_files() -> set[Path]:
    """Return the files of the first page."""
    assets = STATIC / "assets"
    waiting = [STATIC / name for name in NAMED.findall((STATIC / "index.html").read_text())]
    for page in FIRST_PAGES:
        waiting += assets.glob(f"{page}-*")
    waiting += assets.glob("inter-latin-wght-*.woff2")
    found: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        if path.suffix == ".js":
            waiting += [assets / name for name in IMPORTED.findall(path.read_text())]
    return found


def main() -> int:
    """Print the size, and fail past the limit."""
    files = first_files()
    size = sum(len(gzip.compress(path.read_bytes(), mtime=0)) for path in files)
    print(f"console: first page {size / 1000:.0f} kB gzip in {len(files)} files")
    if not files or size > LIMIT_BYTES:
        print(f"console: the limit is {LIMIT_BYTES / 1000:.0f} kB", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
