"""Parameters that several routes have."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

from loopline.names import NAME_PATTERN

Name = Annotated[str, Path(pattern=f"^{NAME_PATTERN}$")]
Version = Annotated[int, Path(ge=1, le=2**53)]
Digest = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]
Id = Annotated[str, Path(min_length=1, max_length=200)]
Sequence = Annotated[int, Path(ge=1, le=2**53)]
Limit = Annotated[int, Query(ge=1, le=1000)]
Cursor = Annotated[str, Query(max_length=300)]
Text = Annotated[str, Query(max_length=1000)]
Words = Annotated[str, Query(max_length=2000, description="Comma separated; all if empty.")]
