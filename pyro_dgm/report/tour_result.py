"""The stops of the tour, and what it has found."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pyro_dgm.errors import OutputError
from pyro_dgm.recipes import Trial
from pyro_dgm.report.findings import Findings
from pyro_dgm.report.measurement import Measurement
from pyro_dgm.training import check_writable

__all__ = ["NUMBERS", "PAGE", "STOPS", "Stop", "TourResult", "tour_folder"]

PAGE, NUMBERS = "report.html", "results.csv"


@dataclass(frozen=True)
class Stop:
    """One model of the tour.

    Attributes:
        recipe: Name of its recipe.
        data: Name of its data set.
        quick_steps: Number of updates in a quick tour.
    """

    recipe: str
    data: str
    quick_steps: int


STOPS = (
    Stop("real-nvp", "moons", 60),
    Stop("ot-flow", "moons", 30),
    Stop("vae", "digits", 60),
    Stop("dcgan", "digits", 30),
    Stop("wgan-gp", "digits", 30),
)


@dataclass
class TourResult:
    """What a tour has found so far.

    Attributes:
        folder: Where it writes to.
        seed: Seed of weights and training.
        quick: Whether models were trained for moments only.
        visited: The trained models with what they have shown.
        failed: Why a model could not be trained, by its name.
        interrupted: Whether it was ended by Ctrl-C.
    """

    folder: Path
    seed: int = 0
    quick: bool = False
    visited: list[tuple[Trial, Findings]] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def measurements(self) -> list[Measurement]:
        """All numbers, in order."""
        return [m for _, findings in self.visited for m in findings.measurements]

    @property
    def violations(self) -> list[Measurement]:
        """The numbers that do not keep their limit."""
        return [m for m in self.measurements if m.holds is False]


def tour_folder(out: str | Path) -> Path:
    """Return the folder of a tour after a look at whether it can be written to.

    Raises:
        OutputError: If it cannot, or if it holds something that no tour has put there.
    """
    path = Path(out)
    own = {PAGE, NUMBERS, *(stop.recipe for stop in STOPS)}
    if path.is_dir():
        strangers = sorted(entry.name for entry in path.iterdir() if entry.name not in own)
        if strangers:
            raise OutputError(
                f"{path} holds {strangers[0]!r}, which no tour has put there: choose an empty or a new "
                "folder."
            )
    return check_writable(path)
