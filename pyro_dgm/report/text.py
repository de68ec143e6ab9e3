"""Tables as plain text for a terminal."""

from __future__ import annotations

import textwrap

from pyro_dgm.report.page import Table

__all__ = ["plain", "to_text"]

# What a terminal of any locale can show.
_ASCII = str.maketrans(
    {"±": "+-", "≥": ">=", "≤": "<=", "−": "-", "×": "x", "–": "-", "‖": "|", "√": "sqrt", "→": "->"}
)


def plain(text: str) -> str:
    """Return a text in ASCII.

    Example:
        >>> plain("0.31 ± 0.01 ≥ H(X)")
        '0.31 +- 0.01 >= H(X)'
    """
    return text.translate(_ASCII).encode("ascii", "replace").decode("ascii")


def to_text(table: Table, width: int = 100) -> str:
    """Return a table aligned in at most ``width`` columns; what is too long goes on in the line below.

    Example:
        >>> print(to_text(Table("Numbers", ["quantity", "value"], [["mass", "1.0000"]])))
        Numbers
        quantity | value
        ---------+-------
        mass     | 1.0000
    """
    cells = [[plain(cell) for cell in row] for row in (table.columns, *table.rows)]
    widths = _fit([max(len(row[k]) for row in cells) for k in range(len(table.columns))], width)
    head, *rows = [_lines(row, widths) for row in cells]
    rule = "-+-".join("-" * w for w in widths)
    notes = [
        textwrap.fill(plain(note), width, initial_indent="  ", subsequent_indent="  ") for note in table.notes
    ]
    title = textwrap.fill(plain(table.title), width)
    return "\n".join([title, *head, rule, *(line for row in rows for line in row), *notes])


def _fit(widths: list[int], total: int) -> list[int]:
    """Take from the widest column until all of them and the bars between them fit."""
    widths = list(widths)
    while sum(widths) + 3 * (len(widths) - 1) > total and max(widths) > 8:
        widths[widths.index(max(widths))] -= 1
    return widths


def _lines(row: list[str], widths: list[int]) -> list[str]:
    wrapped = [textwrap.wrap(cell, w) or [""] for cell, w in zip(row, widths, strict=True)]
    height = max(map(len, wrapped))
    columns = [lines + [""] * (height - len(lines)) for lines in wrapped]
    return [
        " | ".join(column[i].ljust(w) for column, w in zip(columns, widths, strict=True)).rstrip()
        for i in range(height)
    ]
