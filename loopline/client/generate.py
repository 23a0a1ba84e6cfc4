"""Write `sync.py` from the async client: the same verbs and docstrings, without `await`.

Run `python -m loopline.client.generate`; with `--check` it fails if the committed file differs.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
TARGET = HERE / "sync.py"
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
HEADER = '''"""`Loopline`: the platform from a program without asyncio.

Generated from the async client by `python -m loopline.client.generate`; do not edit.
"""

'''
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


def generated() -> str:
    """Return the text of `sync.py`."""
    imports: dict[str, None] = {}
    classes = []
    for module in (*MODULES, "aio"):
        tree = ast.parse((HERE / f"{module}.py").read_text())
        imports |= dict.fromkeys(_imports(tree))
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and (node.name.endswith("Verbs") or module == "aio"):
                classes.append(_class(node, module))
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript):
                imports[f"from loopline.client.{module} import {ast.unparse(node.targets[0])}"] = (
                    None
                )
    own = [
        "from collections.abc import Iterator",
        "from loopline.client.aio import AsyncLoopline",
        "from loopline.client.portal import Portal",
        *(f"from loopline.client import {module} as _{module}" for module in MODULES),
    ]
    members = "\n".join(
        f"        self.{verb} = {verb.capitalize()}Verbs(portal, client.{verb})" for verb in VERBS
    )
    lines = [line for line in [*imports, *own] if "Verbs" not in line and "__future__" not in line]
    text = "\n".join(["from __future__ import annotations", *lines])
    return _formatted(HEADER + text + "\n".join(classes) + PREAMBLE.format(members=members))


def _imports(tree: ast.Module) -> list[str]:
    return [ast.unparse(n) for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]


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
    text = text.replace(
        "from __future__ import annotations\n",
        "from __future__ import annotations\nimport builtins\n",
        1,
    )
    ruff = str(Path(sys.executable).parent / "ruff")
    config = ["--config", str(HERE.parent.parent / "pyproject.toml")]
    for arguments in (
        ["check", "--fix", "-q", "--select", "I,F401", "--ignore-noqa"],
        ["format", "-q"],
    ):
        text = subprocess.run(
            [ruff, *arguments, *config, "--stdin-filename", "sync.py", "-"],
            input=text, capture_output=True, text=True, check=False, cwd=HERE,
        ).stdout  # fmt: skip
    return text


def main() -> int:
    """Write, or check; return the exit status."""
    text = generated()
    if "--check" in sys.argv:
        if TARGET.read_text() != text:
            print(f"differs: {TARGET.name}: run `python -m loopline.client.generate`")
            return 1
        return 0
    TARGET.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
