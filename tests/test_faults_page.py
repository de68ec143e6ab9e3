"""The page of faults promises nothing that no test injects."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAMED = re.compile(r"`((?:\w+/)*test_\w+\.py)(?:::(test_\w+))?`")


def test_every_test_that_the_page_names_exists():
    page = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    named = NAMED.findall(page)
    assert len(named) > 60
    for file, test in named:
        path = ROOT / "tests" / file
        assert path.is_file(), f"docs/faults.md names {file}"
        assert not test or f"def {test}(" in path.read_text(encoding="utf-8"), f"docs/faults.md names {test}"


def test_every_fault_has_a_test():
    page = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith("| fault")]
    assert len(rows) > 45
    assert [row for row in rows if not NAMED.search(row)] == []
