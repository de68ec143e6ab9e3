"""Sphinx settings: every warning of ``make docs`` is an error."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from generated_pages import link_inside, write_pages  # noqa: E402
from tutorial_pages import write_tutorials  # noqa: E402

import pyro_dgm  # noqa: E402

project = "pyro_dgm"
author = "the pyro_dgm authors"
version = release = pyro_dgm.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"pyro_dgm {version}"
exclude_patterns = ["_build"]
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = ["Shape", "Reference"]

write_pages(HERE)
write_tutorials(HERE)


def setup(app):  # type: ignore[no-untyped-def]
    """Let links to files of the checkout lead to the page that shows them, or be plain text."""
    app.connect("source-read", lambda app, name, source: source.__setitem__(0, link_inside(source[0])))
