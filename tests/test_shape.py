"""The shape of functions: short, flat, of few parameters."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
LINES, LEVELS, PARAMETERS = 60, 3, 7
BLOCKS = (
    ast.For | ast.AsyncFor | ast.While | ast.If | ast.With | ast.AsyncWith | ast.Try | ast.TryStar | ast.Match
)
SCOPES = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
EXCEPTIONS = {
    "v0001.py upgrade": "a migration says what the tables were, one after the other",
    "submit.py submit": "a command's options are parameters to typer",
}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def levels(node: ast.AST) -> int:
    """How deep blocks are nested below `node`; `elif` is no level of its own."""
    deepest = 0
    for child in ast.iter_child_nodes(node):
        if isinstance(child, SCOPES):
            continue
        is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        deepest = max(deepest, levels(child) + (isinstance(child, BLOCKS) and not is_elif))
    return deepest


def faults(function: Function) -> list[str]:
    arguments = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
    measured = {
        "lines": (function.end_lineno - function.lineno + 1, LINES),
        "levels": (levels(function), LEVELS),
        "parameters": (len([a for a in arguments if a.arg not in ("self", "cls")]), PARAMETERS),
    }
    return [f"{found} {what}, at most {most}" for what, (found, most) in measured.items() if found > most]


def functions(text: str) -> list[Function]:
    return [node for node in ast.walk(ast.parse(text)) if isinstance(node, Function)]


def test_functions_are_short_flat_and_of_few_parameters() -> None:
    files = [file for house in ("service", "studies", "trainers") for file in (ROOT / house).rglob("*.py")]
    found = [(f"{file.name} {f.name}", faults(f)) for file in files for f in functions(file.read_text())]
    assert {name for name, wrong in found if wrong} == set(EXCEPTIONS), [each for each in found if each[1]]


def test_what_is_measured() -> None:
    inner = "for a in b:\n  if a:\n   pass\n  elif b:\n   while b:\n    with a:\n     pass\n"
    (function,) = functions(
        "def f(self, a, b, /, c, d=1, *e, f, g, h, i, **k):\n " + inner.replace("\n", "\n ")
    )
    assert faults(function) == ["4 levels, at most 3", "8 parameters, at most 7"]
    (function,) = functions("def f():\n" + " pass\n" * 60)
    assert faults(function) == ["61 lines, at most 60"]
