"""A page is whole in itself and safe, whatever its texts say; tables fit a terminal."""

import re
from html.parser import HTMLParser

import pytest
import torch

from pyro_dgm import plotting
from pyro_dgm.errors import OutputError
from pyro_dgm.report import (
    Link,
    Picture,
    Pictures,
    Report,
    Section,
    Table,
    Text,
    to_html,
    to_text,
    write_html,
)


@pytest.fixture
def report():
    picture = Picture.of(plotting.samples(torch.randn(9, 2)), 'Samples "a" < b')
    table = Table("Numbers", ["quantity", "value", "limit"], [["mass", "1.0000 ± 0.0002", "1"]], ["a note"])
    parts = [Text(["One & two"]), Text(["x", "y"], bullets=True), Pictures([picture]), table]
    link = Link("A paper", "https://arxiv.org/abs/1605.08803")
    return Report("Title <b>", "Lead", [Section("First part", parts)], [link], "made by hand")


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def tags_of(html):
    parser = Tags()
    parser.feed(html)
    assert not parser.open, f"never closed: {parser.open}"
    return parser.seen


def test_page_is_well_formed_and_made_for_phones(report):
    tags = tags_of(to_html(report))
    meta = {attrs.get("name"): attrs.get("content") for tag, attrs in tags if tag == "meta"}
    assert meta["viewport"] == "width=device-width, initial-scale=1"
    assert meta["color-scheme"] == "light dark"


def test_page_fetches_nothing_and_runs_nothing(report):
    html = to_html(report)
    tags = tags_of(html)
    assert all(attrs["src"].startswith("data:image/png;base64,") for tag, attrs in tags if tag == "img")
    assert not {tag for tag, _ in tags} & {"script", "link", "iframe", "object", "embed", "base", "form"}
    assert not re.search(r"url\(|@import|\son[a-z]+=", html.split("data:image/png")[0])
    assert [attrs["href"] for tag, attrs in tags if tag == "a"] == ["https://arxiv.org/abs/1605.08803"]


def test_texts_are_escaped(report):
    html = to_html(report)
    assert "Title &lt;b&gt;" in html
    assert "One &amp; two" in html
    assert 'alt="Samples &#34;a&#34; &lt; b"' in html


def test_pictures_state_their_size(report):
    image = next(attrs for tag, attrs in tags_of(to_html(report)) if tag == "img")
    assert (int(image["width"]), int(image["height"])) == (630, 560)


def test_tables_scroll_in_a_container_of_their_own(report):
    tags = tags_of(to_html(report))
    where = [tag for tag, _ in tags].index("table")
    assert tags[where - 1][1]["class"] == "scroll"


def test_writing_to_an_impossible_place_is_a_typed_error(report, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        write_html(report, tmp_path / "file" / "report.html")


def test_written_page_is_what_was_rendered(report, tmp_path):
    path = write_html(report, tmp_path / "new" / "report.html")
    assert path.read_text(encoding="utf-8") == to_html(report)
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_row_of_another_length_than_the_head_is_refused():
    with pytest.raises(ValueError, match=r"'T' needs 2 entries.*'a' has 3"):
        Table("T", ["x", "y"], [["a", "b", "c"]])


def test_table_as_text_is_aligned_ascii_within_its_width():
    rows = [["J_ML ± SE", "0.3142 ± 0.0071", "≥ H(X) = 0.2892, the entropy of the data"], ["mass", "1", "1"]]
    text = to_text(Table("A title", ["quantity", "value", "floor or limit"], rows, ["n " * 80]), width=60)
    lines = text.splitlines()
    assert text.isascii()
    assert max(map(len, lines)) <= 60
    bars = {tuple(i for i, c in enumerate(line) if c in "|+") for line in lines[1:3]}
    assert len(bars) == 1
    assert "+- 0.0071" in text
