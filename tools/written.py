"""Files that a program writes and git keeps: written, or with `--check` only compared."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
CHECK: Final = "--check"


def write_or_check(texts: Mapping[Path, str]) -> int:
    """Write the files that are not as they should be, or with `--check` only name them.

    Args:
        texts: What each file should hold.

    Returns:
        The exit status: 1 if a file that is only compared is not as it should be.
    """
    is_check = CHECK in sys.argv
    stale = [path for path, text in texts.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        print(f"{'stale' if is_check else 'writes'}: {path.relative_to(ROOT)}")
        if not is_check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(texts[path])
    return 1 if is_check and stale else 0
