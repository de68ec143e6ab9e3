"""A report as one HTML file that fetches nothing."""

from __future__ import annotations

import base64
import re
import struct
from pathlib import Path

from pyro_dgm.report.page import Picture, Pictures, Report, Table, Text
from pyro_dgm.training.atomic import check_writable, write_atomically

__all__ = ["to_html", "write_html"]


def to_html(report: Report) -> str:
    """Return the page as HTML: style and pictures inside, no scripts, readable on a phone, light or dark.

    Example:
        >>> from pyro_dgm.report import Report, Section, Text
        >>> "<h2" in to_html(Report("Title", "Lead", [Section("One", [Text(["a < b"])])]))
        True
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("pyro_dgm.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["text"] = lambda part: isinstance(part, Text)
    environment.tests["pictures"] = lambda part: isinstance(part, Pictures)
    environment.tests["table"] = lambda part: isinstance(part, Table)
    environment.filters["data_uri"] = _data_uri
    environment.filters["size"] = _size
    environment.filters["slug"] = _slug
    return environment.get_template("page.html.j2").render(report=report)


def write_html(report: Report, path: str | Path) -> Path:
    """Write the page to ``path`` and return it; a reader never sees half a page.

    Raises:
        OutputError: If it cannot be written.
    """
    path = Path(path)
    check_writable(path.parent)
    write_atomically(path, to_html(report).encode())
    return path


def _data_uri(picture: Picture) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.png).decode("ascii")


def _size(picture: Picture) -> tuple[int, int]:
    """Width and height in pixels, from the header of the PNG: the page does not jump while it loads."""
    width, height = struct.unpack(">II", picture.png[16:24])
    return width, height


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
