"""The examples of the documentation run from top to bottom, page by page, with fewer steps than they say."""

import re
from pathlib import Path

import pytest
import torch

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = sorted(page for page in DOCS.glob("*.md") if BLOCK.search(page.read_text(encoding="utf-8")))
FEWER = {
    "steps": 4,
    "epochs": 1,
    "warmup_steps": 4,
    "num_samples": 40,
    "num_data_sets": 40,
    "num_starts": 2,
}
# These need other packages or many processes, or show what fails; the last are made of other files.
ELSEWHERE = {"adapters.md", "training_on_many_processes.md", "faults.md", "tutorials.md", "benchmarks.md"}


def briefly(source):
    """The same program with fewer steps, samples and passes."""
    for name, most in FEWER.items():
        source = re.sub(rf"\b{name}=(\d+)", lambda m, n=name, k=most: f"{n}={min(k, int(m[1]))}", source)
    return re.sub(r"in range\(\d{3,}\)", "in range(3)", source)


def test_there_are_examples_and_they_are_made_shorter():
    assert {"start.md", "gan.md", "own_data.md", "compare.md", "trust.md", "vae.md"} <= {
        p.name for p in PAGES
    }
    assert briefly("fit(m, steps=1000, warmup_steps=2)") == "fit(m, steps=4, warmup_steps=2)"


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if p.name not in ELSEWHERE], ids=lambda page: page.stem)
@pytest.mark.filterwarnings("default")  # so few steps warn of what they leave undone
def test_every_example_of_the_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names = {"__name__": "__main__"}
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        exec(compile(briefly(block), str(page), "exec"), names)
