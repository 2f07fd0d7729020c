"""Write clients/librarian/blocking.pyi, the types of the blocking client, from the asyncio client; or check
that it is current.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from librarian import client
from librarian.blocking import asynchronous_methods

STUB = Path(__file__).resolve().parent.parent / "clients" / "librarian" / "blocking.pyi"
HEADER = "# Made by scripts/blocking_stub.py from the asyncio client: do not edit.\n"
OWN = """
class Librarian:
    def __init__(self, asynchronous: client.Librarian) -> None: ...
    {connect}
    @property
    def settings(self) -> ConnectionSettings: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
"""
FIXED_IMPORTS = [
    "from collections.abc import Callable, Iterator",
    "from types import TracebackType",
    "from typing import Any, Self",
    "from librarian import client",
    "from librarian.connection.settings import ConnectionSettings",
]


def signature(method: Callable[..., Any]) -> str:
    """The method's `def` line as a blocking one."""
    source = textwrap.dedent(inspect.getsource(method))
    node = ast.parse(source).body[0]
    assert isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)
    returns = node.returns
    if (
        isinstance(returns, ast.Subscript)
        and isinstance(returns.value, ast.Name)
        and returns.value.id == "AsyncGenerator"
    ):
        assert isinstance(returns.slice, ast.Tuple)
        returns = ast.Subscript(ast.Name("Iterator"), returns.slice.elts[0])
    arguments = node.args
    arguments.defaults = [_simple(default) for default in arguments.defaults]
    arguments.kw_defaults = [default and _simple(default) for default in arguments.kw_defaults]
    body: list[ast.stmt] = [ast.Expr(ast.Constant(...))]
    stub = ast.FunctionDef(node.name, arguments, body, node.decorator_list, returns, None)
    return ast.unparse(ast.fix_missing_locations(stub))


def _simple(default: ast.expr) -> ast.expr:
    """Stubs tell constants; what is worked out stands as `...`."""
    return default if isinstance(default, ast.Constant) else ast.Constant(...)


def imports() -> list[str]:
    """All imports and names of the modules that the client is put together of; ruff drops the unneeded."""
    found = set(FIXED_IMPORTS)
    for cls in client.Librarian.__mro__[:-1]:
        module = sys.modules[cls.__module__]
        tree = ast.parse(inspect.getsource(module))
        found.update(
            ast.unparse(node)
            for node in tree.body
            if isinstance(node, ast.Import | ast.ImportFrom)
            and not (isinstance(node, ast.ImportFrom) and node.module == "__future__")
        )
        local = [
            node.targets[0].id
            for node in tree.body
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and not node.targets[0].id.isupper()
            and not node.targets[0].id.startswith("_")
        ]
        local += [
            node.name
            for node in tree.body
            if isinstance(node, ast.ClassDef) and not node.name.endswith("Client")
        ]
        if local and module.__name__ != "librarian.client":
            found.add(f"from {module.__name__} import {', '.join(local)}")
    return sorted(found)


def generate() -> str:
    connect = signature(client.Librarian.connect.__func__)  # type: ignore[attr-defined]
    methods = [signature(method) for method in asynchronous_methods().values()]
    return tidy(
        "\n".join(
            [
                HEADER,
                *imports(),
                OWN.format(connect=textwrap.indent(connect, "    ").strip()),
                *(textwrap.indent(method, "    ") for method in methods),
                "def asynchronous_methods() -> dict[str, Callable[..., Any]]: ...",
            ]
        )
    )


def tidy(text: str) -> str:
    ruff = str(Path(sys.executable).with_name("ruff"))
    name = ["--stdin-filename", str(STUB)]
    commands = [
        [ruff, "check", "--quiet", "--fix-only", "--select", "F401,I", "--exit-zero", *name, "-"],
        [ruff, "format", "--quiet", *name, "-"],
    ]
    for command in commands:
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)  # noqa: S603 - ours
        text = done.stdout
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when the stub is stale")
    check = parser.parse_args().check
    fresh = generate()
    if check:
        if not STUB.exists() or STUB.read_text() != fresh:
            print("blocking.pyi is stale: run `python scripts/blocking_stub.py`", file=sys.stderr)
            return 1
        return 0
    STUB.write_text(fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main())
