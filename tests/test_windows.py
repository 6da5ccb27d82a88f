"""What breaks on Windows only: text without an encoding is read as cp1252 there, and a path put together by hand."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import beft_lib
from beft_lib import authoring

PACKAGE = Path(beft_lib.__file__).parent
LIBRARY = [*PACKAGE.rglob("*.py"), *authoring.sources().values()]
TESTS = [path for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("test_pocket_")]
TEXT = {"read_text": 0, "write_text": 1}  # where an encoding may stand if it is not named
PLUS = "a path joined by +"
OPENS = {"open": 0, "fdopen": 1, "TextIOWrapper": 1, "NamedTemporaryFile": 0}  # where the mode stands


def faults(code: str) -> Iterator[tuple[int, str]]:
    """(line, what is wrong) in a piece of Python."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call):
            yield from ((node.lineno, fault) for fault in _call(node))
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            for side, at in ((node.left, -1), (node.right, 0)):
                if (
                    isinstance(side, ast.Constant)
                    and isinstance(side.value, str)
                    and side.value[at:][:1] in ("/", "\\")
                ):
                    yield node.lineno, PLUS
        elif isinstance(node, ast.Attribute) and ast.unparse(node) == "os.path.join":
            yield node.lineno, "os.path.join: pathlib does it"


def _call(node: ast.Call) -> Iterator[str]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    owner = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""
    named = {word.arg: word.value for word in node.keywords}
    if name in TEXT and "encoding" not in named and len(node.args) <= TEXT[name]:
        yield f"{name} without an encoding"
    if name in OPENS and owner not in ("os", "Image", "zipfile", "tarfile", "gzip", "webbrowser"):
        place = OPENS[name] + (owner == "" and name == "open")  # open(file, mode), but file.open(mode)
        mode = named.get("mode", node.args[place] if len(node.args) > place else None)
        told = mode.value if isinstance(mode, ast.Constant) else "r"
        if name == "NamedTemporaryFile" and mode is None:
            told = "w+b"
        if "b" not in str(told) and "encoding" not in named:
            yield f"{name} of a text without an encoding"
    if name in ("run", "Popen", "check_output", "call") and "text" in named and "encoding" not in named:
        yield f"{name}(text=…) without an encoding"
    if name == "Path":
        for part in node.args:
            if isinstance(part, ast.JoinedStr) and any("/" in str(getattr(v, "value", "")) for v in part.values):
                yield "Path of a string put together by hand"


@pytest.mark.parametrize("path", [*LIBRARY, *TESTS], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_text_has_an_encoding_and_no_path_is_joined_by_hand(path: Path) -> None:
    found = list(faults(path.read_text(encoding="utf-8")))
    if path in TESTS:  # where + makes names of repositories and messages
        found = [(line, fault) for line, fault in found if fault != PLUS]
    assert not found, "\n".join(f"{path}, line {line}: {fault}" for line, fault in found)


@pytest.mark.parametrize(
    "code",
    [
        "p.read_text()", "p.write_text(t)", "open(p)", "open(p, 'w')", "p.open()", "p.open('a')", "p.open(mode='w')",
        "io.TextIOWrapper(f)", "tempfile.NamedTemporaryFile('w')",
        "subprocess.run(c, text=True)", "Path(f'{a}/{b}')", "folder + '/' + name", "a + '\\\\x'", "'a/' + b",
        "os.path.join(a, b)",
    ],
)  # fmt: skip
def test_the_search_finds(code: str) -> None:
    assert list(faults(code))


@pytest.mark.parametrize(
    "code",
    [
        "p.read_text(encoding='utf-8')", "p.read_text('utf-8')", "p.write_text(t, 'utf-8')", "open(p, 'rb')",
        "p.open('wb')", "p.open('w', encoding='utf-8')", "Image.open(p)", "Path(f'{name}.csv')", "a / b / 'c'",
        "subprocess.run(c, capture_output=True)", "subprocess.run(c, text=True, encoding='utf-8')", "1 + 2", "a + 'b'",
        "tempfile.NamedTemporaryFile()",
    ],
)  # fmt: skip
def test_the_search_lets_pass(code: str) -> None:
    assert not list(faults(code))
