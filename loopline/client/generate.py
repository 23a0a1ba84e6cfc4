"""Write `sync/` from the async client: the same verbs and docstrings, without `await`.

Run `python -m loopline.client.generate`; with `--check` it fails if a committed file differs.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
TARGET = HERE / "sync"
VERBS = (
    "dataset",
    "augment",
    "model",
    "evaluation",
    "flow",
    "job",
    "dead",
    "lineage",
    "storage",
    "user",
    "token",
    "run",
    "agent",
)
MODULES = (
    "augment",
    "datasets",
    "models",
    "evaluations",
    "flows",
    "jobs",
    "dead",
    "lineage",
    "storage",
    "people",
    "runs",
)
HEADER = '''"""{first}

Generated from `loopline.client.{module}` by `python -m loopline.client.generate`; do not edit.
"""

from __future__ import annotations
import builtins
'''
FIRST = "`Loopline`: the platform from a program without asyncio."
OWN = """
from collections.abc import Iterator
from loopline.client.aio import AsyncLoopline
from loopline.client.portal import Portal
"""
PREAMBLE = '''

class Loopline(LooplineVerbs):
    """One object for everything; close it, or use it in a `with` block.

    >>> with Loopline.connect() as loopline:  # doctest: +SKIP
    ...     versions = loopline.dataset.log("catalogue")
    """

    def __init__(self, portal: Portal, client: AsyncLoopline) -> None:
        super().__init__(portal, client)
{members}

    @classmethod
    def connect(cls, data_dir: Path | None = None, **settings: Any) -> Loopline:
        """Connect; see `AsyncLoopline.connect`."""
        portal = Portal()
        try:
            return cls(portal, portal.call(AsyncLoopline.connect(data_dir, **settings)))
        except BaseException:
            portal.close()
            raise

    def close(self) -> None:
        """Close every connection."""
        self._portal.call(self._client.close())
        self._portal.close()

    def __enter__(self) -> Loopline:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()
'''
SKIPPED = {"connect", "close"}


def generated() -> dict[str, str]:
    """Return the text of every file of `sync/`, by name."""
    files = {f"{module}.py": _verbs(module) for module in MODULES}
    files["__init__.py"] = _client()
    return files


def _verbs(module: str) -> str:
    tree = ast.parse((HERE / f"{module}.py").read_text())
    text = HEADER.format(first=(ast.get_docstring(tree) or "").splitlines()[0], module=module)
    classes = [
        _class(node, module)
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name.endswith("Verbs")
    ]
    own = [OWN, f"from loopline.client import {module} as _{module}"]
    return _formatted(text + "\n".join([*_imports(tree), *_aliases(tree, module), *own, *classes]))


def _client() -> str:
    tree = ast.parse((HERE / "aio.py").read_text())
    [verbs] = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    members = "\n".join(
        f"        self.{verb} = {verb.capitalize()}Verbs(portal, client.{verb})" for verb in VERBS
    )
    imports = [
        line.replace("loopline.client.", "loopline.client.sync.") if "Verbs" in line else line
        for line in _imports(tree)
    ]
    text = HEADER.format(first=FIRST, module="aio") + "\n".join([*imports, OWN])
    return _formatted(text + _class(verbs, "aio") + PREAMBLE.format(members=members))


def _aliases(tree: ast.Module, module: str) -> list[str]:
    """Return imports of the types that a module names for its own signatures."""
    return [
        f"from loopline.client.{module} import {ast.unparse(node.targets[0])}"
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript)
    ]


def _imports(tree: ast.Module) -> list[str]:
    found = [ast.unparse(n) for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    return [line for line in found if "__future__" not in line]


def _class(node: ast.ClassDef, module: str) -> str:
    name = "LooplineVerbs" if module == "aio" else node.name
    inner = "AsyncLoopline" if module == "aio" else f"_{module}.{node.name}"
    methods = [
        _method(item)
        for item in node.body
        if isinstance(item, ast.AsyncFunctionDef)
        and not item.name.startswith("_")
        and item.name not in SKIPPED
    ]
    return f'''

class {name}:
    """{(ast.get_docstring(node) or "").splitlines()[0]}"""

    def __init__(self, portal: Portal, client: {inner}) -> None:
        self._portal = portal
        self._client = client
{"".join(methods)}'''


def _method(node: ast.AsyncFunctionDef) -> str:
    returns = ast.unparse(node.returns) if node.returns else "None"
    iterates = returns.startswith("AsyncIterator")
    arguments = ast.unparse(node.args)
    names = [a.arg for a in node.args.args[1:]] + [f"{a.arg}={a.arg}" for a in node.args.kwonlyargs]
    if node.args.kwarg is not None:
        names.append(f"**{node.args.kwarg.arg}")
    call = f"self._client.{node.name}({', '.join(names)})"
    how = "iterate" if iterates else "call"
    # Inside a class with a method `list`, that name means the method.
    kept = returns.replace("AsyncIterator", "Iterator").replace("list[", "builtins.list[")
    docstring = ast.get_docstring(node, clean=False) or ""
    return f'''
    def {node.name}({arguments.replace("list[", "builtins.list[")}) -> {kept}:
        """{docstring}"""
        return self._portal.{how}({call})
'''


def _formatted(text: str) -> str:
    ruff = str(Path(sys.executable).parent / "ruff")
    config = ["--config", str(HERE.parent.parent / "pyproject.toml")]
    for arguments in (
        ["check", "--fix", "-q", "--select", "I,F401", "--ignore-noqa"],
        ["format", "-q"],
    ):
        text = subprocess.run(
            [ruff, *arguments, *config, "--stdin-filename", "sync/verbs.py", "-"],
            input=text, capture_output=True, text=True, check=False, cwd=HERE,
        ).stdout  # fmt: skip
    return text


def main() -> int:
    """Write, or check; return the exit status."""
    wanted = generated()
    there = {path.name: path.read_text() for path in TARGET.glob("*.py")}
    differing = sorted(n for n in wanted.keys() | there.keys() if wanted.get(n) != there.get(n))
    if "--check" in sys.argv:
        for name in differing:
            print(f"differs: sync/{name}: run `python -m loopline.client.generate`")
        return 1 if differing else 0
    TARGET.mkdir(exist_ok=True)
    for name in differing:
        if name in wanted:
            (TARGET / name).write_text(wanted[name])
        else:
            (TARGET / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
