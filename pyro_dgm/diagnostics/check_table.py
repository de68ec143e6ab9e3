"""Figures beside their limits, as a table in text and in HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyro_dgm.diagnostics.audit_report import Check

__all__ = ["html_table", "text_table"]

_HEAD = ("check", "figure", "limit", "verdict", "how")


def text_table(title: str, checks: Sequence[Check], sentence: str) -> str:
    """The table in columns of one width, under its title and over the sentence."""
    rows = [_HEAD, *map(_cells, checks)]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = ["  ".join([*(row[i].ljust(widths[i]) for i in range(4)), row[4]]).rstrip() for row in rows]
    return "\n".join([title, *lines, sentence])


def html_table(title: str, checks: Sequence[Check], sentence: str) -> str:
    """The same in HTML, for notebooks."""
    cells = "".join(f"<tr>{_row('td', _cells(check))}</tr>" for check in checks)
    return (
        f"<p>{html.escape(title)}</p><table><tr>{_row('th', _HEAD)}</tr>{cells}</table>"
        f"<p><b>{html.escape(sentence)}</b></p>"
    )


def _cells(check: Check) -> tuple[str, ...]:
    return check.title, check.figure_text, check.limit, check.verdict, check.note


def _row(tag: str, cells: Sequence[str]) -> str:
    return "".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in cells)
