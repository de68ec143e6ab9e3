"""Self-contained pages that set models side by side."""

from pyro_dgm.report.comparison import Comparison, compare
from pyro_dgm.report.flow_rows import straightness, way_of
from pyro_dgm.report.html import to_html, write_html
from pyro_dgm.report.page import Link, Part, Picture, Pictures, Report, Section, Table, Text
from pyro_dgm.report.text import plain, to_text

__all__ = [
    "Comparison",
    "Link",
    "Part",
    "Picture",
    "Pictures",
    "Report",
    "Section",
    "Table",
    "Text",
    "compare",
    "plain",
    "straightness",
    "to_html",
    "to_text",
    "way_of",
    "write_html",
]
