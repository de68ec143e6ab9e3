"""Imports between the rooms of the package go downwards only."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Single modules at the very bottom, on which every room may stand and which stand on no room.
FLOOR = ("eager", "errors", "arguments", "finite", "levels", "naming", "networks", "plates", "zuko_guard")
FLOOR += ("heap", "through_formula")
# From the ground up; those of one storey do not import each other.
CORE = (("nets", "transforms"), ("distributions",), ("flows",), ("guides",), ("models",), ("objectives",))
# Beside the stairs: each may use the core and those before it, and nothing that trains or composes.
SIDE = ("data", "metrics", "diagnostics", "plotting")
UPPER = ("training", "inference", "recipes", "report", "cli", "__main__")
HEAVY = {
    "accelerate",
    "arviz",
    "jinja2",
    "matplotlib",
    "pandas",
    "scipy",
    "sklearn",
    "torchvision",
    "tqdm",
    "zuko",
}


def rooms_below() -> dict[str, set[str]]:
    below: dict[str, set[str]] = {name: set(FLOOR[:i]) for i, name in enumerate(FLOOR)}
    under = set(FLOOR)
    for storey in CORE:
        below |= {room: set(under) for room in storey}
        under |= set(storey)
    for room in (*SIDE, *UPPER):
        below[room] = set(under)
        under.add(room)
    return below


BELOW = rooms_below()


def source_files() -> list[Path]:
    folders = [ROOT / "pyro_dgm", ROOT / "models", ROOT / "guides"]
    files = {file for folder in folders for file in folder.rglob("*.py")}
    return sorted(files - {ROOT / "pyro_dgm" / "__init__.py"})


def room_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "pyro_dgm" else parts[0]


def imported_names(tree: ast.AST) -> Iterator[str]:
    """Full dotted names of everything imported under a node, at the top and inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ("." * node.level + f"{node.module or ''}.{alias.name}" for alias in node.names)


def rooms_imported(tree: ast.AST) -> set[str]:
    names = [name.split(".") for name in imported_names(tree)]
    return {parts[1] for parts in names if parts[0] == "pyro_dgm" and parts[1:] and parts[1] in BELOW}


def at_import_time(tree: ast.Module) -> ast.Module:
    """The tree without function bodies and type-checking blocks: what runs when the module is imported."""

    class Prune(ast.NodeTransformer):
        def visit_FunctionDef(self, node):
            return None

        visit_AsyncFunctionDef = visit_FunctionDef

        def visit_If(self, node):
            return None if "TYPE_CHECKING" in ast.unparse(node.test) else node

    return Prune().visit(tree)


FILES = {str(f.relative_to(ROOT)): f for f in source_files()}


@pytest.mark.parametrize("room", sorted({room_of(f) for f in FILES.values()}))
def test_room_imports_only_what_lies_below_it(room):
    assert room in BELOW, f"give {room!r} its place among the rooms at the top of this file"
    for name, file in FILES.items():
        if room_of(file) == room:
            upwards = rooms_imported(ast.parse(file.read_text())) - BELOW[room] - {room}
            assert not upwards, f"{name} imports {sorted(upwards)}, which do not lie below {room}"


def test_imports_are_absolute():
    for name, file in FILES.items():
        relative = [n for n in imported_names(ast.parse(file.read_text())) if n.startswith(".")]
        assert not relative, f"{name} imports {relative}: write pyro_dgm.ROOM instead"


def test_heavy_libraries_are_imported_inside_functions():
    for name, file in FILES.items():
        now = imported_names(at_import_time(ast.parse(file.read_text())))
        heavy = {n.split(".")[0] for n in now} & HEAVY
        assert not heavy, f"{name} imports {sorted(heavy)} when it is itself imported"
