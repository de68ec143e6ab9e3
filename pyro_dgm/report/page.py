"""What a report consists of: plain data, drawn by ``html`` and ``text``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyro_dgm.plotting import png_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Link", "Part", "Picture", "Pictures", "Report", "Section", "Table", "Text"]


@dataclass(frozen=True)
class Text:
    """Paragraphs, or the points of a list.

    Attributes:
        paragraphs: The paragraphs.
        bullets: Whether they are shown as a list.
    """

    paragraphs: Sequence[str]
    bullets: bool = False


@dataclass(frozen=True)
class Picture:
    """A picture with what it shows.

    Attributes:
        png: The bytes of a PNG file.
        caption: What is seen, and in which unit; also read out where the picture cannot be seen.
    """

    png: bytes
    caption: str

    @classmethod
    def of(cls, picture: Axes | Figure, caption: str) -> Picture:
        """Make a picture of what a function of :mod:`pyro_dgm.plotting` returned."""
        return cls(png_bytes(picture), caption)


@dataclass(frozen=True)
class Pictures:
    """Pictures that are looked at side by side where the page is wide enough."""

    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Table:
    """A table of texts: one row a quantity, with its unit, its values and its floor or limit.

    Attributes:
        title: What is compared, and on which data.
        columns: Heads of the columns; the first is that of the rows' names.
        rows: One text a column; the first is the row's name.
        notes: Where the numbers come from.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"each row of the table {self.title!r} needs {len(self.columns)} entries, one a column, "
                    f"but {row[0]!r} has {len(row)}."
                )


@dataclass(frozen=True)
class Link:
    """A reference to read on."""

    text: str
    url: str


Part = Text | Pictures | Table


@dataclass(frozen=True)
class Section:
    """A part of the page under a heading of its own."""

    title: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Report:
    """A page.

    Attributes:
        title: Its title.
        lead: What it is about, in a sentence or two.
        sections: Its sections, in order.
        links: References.
        footer: How it was made: versions, seed, machine.
    """

    title: str
    lead: str
    sections: Sequence[Section]
    links: Sequence[Link] = field(default=())
    footer: str = ""
