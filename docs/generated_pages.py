"""Pages that are made of the package and of committed results rather than written by hand."""

import importlib
import re
from pathlib import Path

ROOMS = {
    "data": "Data sets",
    "distributions": "Distributions",
    "transforms": "Transforms",
    "flows": "Flows",
    "guides": "Guides",
    "models": "Models",
    "nets": "Networks",
    "objectives": "Objectives",
    "training": "Training",
    "inference": "Inference",
    "metrics": "Metrics",
    "diagnostics": "Diagnostics",
    "plotting": "Plotting",
    "recipes": "Recipes",
    "report": "Reports",
    "errors": "Errors",
}


def write_pages(docs: Path) -> None:
    """Write one page of reference for each room, and one page of all committed results."""
    (docs / "api").mkdir(exist_ok=True)
    for room, title in ROOMS.items():
        _write(docs / "api" / f"{room}.rst", _reference(room, title))
    _write(docs / "benchmarks.md", _benchmarks(docs.parent / "benchmarks" / "results"))


def link_inside(text: str) -> str:
    """Return Markdown whose links to files outside of the folder of the documentation lead into the site.

    Those to committed results lead to the page of benchmarks; others become the name of the file.
    """

    def replace(match: re.Match[str]) -> str:
        words, path = match.groups()
        result = re.fullmatch(r"benchmarks/results/(\w+)\.(md|txt)", path)
        return f"[{words}](benchmarks.md#{result[1]})" if result else f"{words} (`{path}`)"

    return re.sub(r"(?<!!)\[([^\]]*)\]\(\.\./([^)#]+)(?:#[^)]*)?\)", replace, text)


def _reference(room: str, title: str) -> str:
    module = importlib.import_module(f"pyro_dgm.{room}")
    lines = [title, "=" * len(title), "", (module.__doc__ or "").strip(), ""]
    lines += [f".. currentmodule:: pyro_dgm.{room}", ""]
    for name in sorted(module.__all__):
        thing = getattr(module, name)
        if isinstance(thing, type):
            lines += [f".. autoclass:: {name}", "   :members:", "   :no-index:", ""]
        elif callable(thing):
            lines += [f".. autofunction:: {name}", "   :no-index:", ""]
        else:
            lines += [f"``{name}``", f"   {type(thing).__name__} constant.", ""]
    return "\n".join(lines)


def _benchmarks(results: Path) -> str:
    parts = [
        "# Benchmarks\n",
        "Every table is a committed result of the command that it names, as the command wrote it; "
        "missed bars included. Times are those of the machine they were measured on.\n",
    ]
    for file in sorted(results.iterdir()):
        if file.suffix not in (".md", ".txt"):
            continue
        text = file.read_text()
        if file.suffix == ".md":
            body = "\n".join(f"#{line}" if line.startswith("#") else line for line in text.splitlines())
            parts.append(f"## {file.stem}\n\n" + body.replace("\n# ", "\n### ") + "\n")
        else:
            parts.append(f"## {file.stem}\n\n```text\n{text.rstrip()}\n```\n")
    return "\n".join(parts)


def _write(path: Path, text: str) -> None:
    """Leave a file alone that would not change, so that a second build is quick."""
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
