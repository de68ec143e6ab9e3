"""A report as one HTML file that fetches nothing."""

from __future__ import annotations

import base64
import contextlib
import re
import struct
from pathlib import Path

from pyro_dgm.errors import OutputError
from pyro_dgm.report.page import Picture, Pictures, Report, Table, Text

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


def write_html(report: Report, path: Path) -> Path:
    """Write the page to ``path`` and return it; a reader never sees half a page.

    Raises:
        OutputError: If it cannot be written.
    """
    path = Path(path)
    unfinished = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(to_html(report), encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise OutputError(
            f"the report cannot be written to {path}: {error.strerror}. Choose another folder."
        ) from error
    return path


def _data_uri(picture: Picture) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.png).decode("ascii")


def _size(picture: Picture) -> tuple[int, int]:
    """Width and height in pixels, from the header of the PNG: the page does not jump while it loads."""
    width, height = struct.unpack(">II", picture.png[16:24])
    return width, height


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
