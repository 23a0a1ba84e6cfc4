"""Generate the Python code of the contracts from proto/ into loopline/contracts.

The folders mirror the Python package, so the generated imports need no rewriting. Run with
`--check` to fail if the committed code differs from what the contracts say.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent
TARGET = ROOT.parent
# Only these define RPC services; the others would get empty `_pb2_grpc` modules.
GRPC_SUFFIXES = ("oip/v2", "inference/v1")


def generate(destination: Path) -> list[Path]:
    """Write the generated modules below `destination` and return their paths, relative to it."""
    protos = sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*.proto"))
    services = [path for path in protos if path.rsplit("/", 1)[0].endswith(GRPC_SUFFIXES)]
    include = [f"-I{ROOT}", f"-I{Path(grpc_tools.__file__).parent / '_proto'}"]
    _protoc([*include, f"--python_out={destination}", f"--pyi_out={destination}", *protos])
    if services:
        _protoc([*include, f"--grpc_python_out={destination}", *services])
    return sorted(path.relative_to(destination) for path in destination.rglob("*_pb2*.py*"))


def _protoc(arguments: list[str]) -> None:
    if protoc.main(["protoc", *arguments]) != 0:
        raise SystemExit("protoc failed")


def differences(fresh: Path, generated: list[Path]) -> list[Path]:
    """Return what differs between `fresh` and the committed code, stale files included."""
    committed = {
        path.relative_to(TARGET)
        for path in (TARGET / "loopline" / "contracts").rglob("*_pb2*.py*")
        if path.suffix in {".py", ".pyi"}
    }
    changed = {
        path
        for path in generated
        if path not in committed or (fresh / path).read_bytes() != (TARGET / path).read_bytes()
    }
    return sorted(changed | (committed - set(generated)))


def main() -> int:
    """Generate, or check; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        generated = generate(fresh)
        different = differences(fresh, generated)
        for path in different:
            print(f"{'differs' if check else 'writes'}: {path}")
            if check:
                continue
            if path in generated:
                (TARGET / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(fresh / path, TARGET / path)
            else:
                (TARGET / path).unlink()
    return 1 if check and different else 0


if __name__ == "__main__":
    sys.exit(main())
