"""Pages of the tutorials: text and code, with what they printed and drew when last rendered."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cell:
    """A cell of a percent script: Markdown text, or code."""

    markdown: bool
    text: str


def cells_of(source: str) -> list[Cell]:
    """Take a percent script apart."""
    found = []
    for part in re.split(r"^# %%", source, flags=re.MULTILINE)[1:]:
        first, _, rest = part.partition("\n")
        if "[markdown]" in first:
            lines = [re.sub(r"^# ?", "", line) for line in rest.splitlines()]
            found.append(Cell(True, "\n".join(lines).strip()))
        else:
            found.append(Cell(False, rest.strip() + "\n"))
    return found


def checksum(source: str) -> str:
    """Checksum of the code of a percent script and of where it stands: its text may be improved freely."""
    kept = [None if cell.markdown else cell.text for cell in cells_of(source)]
    return hashlib.sha256(json.dumps(kept).encode()).hexdigest()


def write_tutorials(docs: Path) -> None:
    """Write one page for each rendered tutorial, and the page that lists them."""
    entries = []
    for record in sorted((docs / "tutorials").glob("*.json")):
        script = docs.parent / "tutorials" / f"{record.stem}.py"
        if not script.exists():
            continue
        text = page(script.read_text(), json.loads(record.read_text()), record.stem)
        target = record.with_suffix(".md")
        if not target.exists() or target.read_text() != text:
            target.write_text(text)
        title = next(line for line in text.splitlines() if line.startswith("# "))
        question = re.search(r"\*\*Question\.\*\* (.+?)\n\n", text, re.DOTALL)
        about = " ".join(question[1].split()) if question else ""
        entries.append(f"- [{title[2:]}](tutorials/{record.stem}.md) {about}")
    index = "\n".join(
        [
            "# Tutorials",
            "",
            "Each answers one question and ends with a number that it asserts. They are scripts with cells: "
            "run them as they are, or open them in an editor that knows `# %%`. `PYRO_DGM_FAST=1` makes them "
            "short.",
            "",
            *entries,
            "",
            *(["```{toctree}", ":hidden:", ":glob:", "", "tutorials/*", "```", ""] if entries else []),
        ]
    )
    target = docs / "tutorials.md"
    if not target.exists() or target.read_text() != index:
        target.write_text(index)


def page(source: str, record: dict[str, object], name: str) -> str:
    """One tutorial as Markdown."""
    return "\n".join(_parts(source, record, name)) + "\n"


def _parts(source: str, record: dict[str, object], name: str) -> Iterator[str]:
    cells: dict[str, dict[str, object]] = record["cells"]  # type: ignore[assignment]
    for number, cell in enumerate(cells_of(source)):
        if cell.markdown:
            yield cell.text + "\n"
            continue
        yield f"```python\n{cell.text.rstrip()}\n```\n"
        shown = cells.get(str(number), {"output": "", "pictures": []})
        if shown["output"]:
            yield f"```text\n{str(shown['output']).rstrip()}\n```\n"
        for picture in shown["pictures"]:  # type: ignore[attr-defined]
            yield f"![{Path(picture).stem.replace('_', ' ')}](../pictures/tutorials/{picture})\n"
    yield (
        f"---\n\n`tutorials/{name}.py`, run in full in {record['cpu_seconds']} CPU-seconds with "
        f"{record['versions']}; `python scripts/render_tutorials.py {name}` makes this page again.\n"
    )
