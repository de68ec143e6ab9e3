"""The commands and their options; what they do stands in modules of their own, imported when needed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["app", "run"]

app = typer.Typer(
    name="pyro-dgm",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="""Deep generative models for Pyro: train, look, audit.

    \b
    pyro-dgm tour                               five models, one page: runs/tour/report.html
    pyro-dgm train real-nvp --data moons        one model: runs/real-nvp-moons
    pyro-dgm sample runs/real-nvp-moons         draw from it
    pyro-dgm audit runs/real-nvp-moons          check that it is what it claims to be
    pyro-dgm list                               models and data sets""",
)

Seed = Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Seed of all random numbers.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a saved run.", show_default=False)]
DataRoot = Annotated[
    Path | None,
    typer.Option("--data-root", metavar="DIR", help="Folder with the files of mnist and fashion-mnist."),
]


def _version(wanted: bool) -> None:
    if wanted:
        from pyro_dgm import __version__

        typer.echo(f"pyro-dgm {__version__}")
        raise typer.Exit


@app.callback()
def _start(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def tour(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write to.")] = Path(
        "runs/tour"
    ),
    quick: Annotated[bool, typer.Option("--quick", help="Train for moments only, for a look.")] = False,
    seed: Seed = 0,
) -> int:
    """Train two flows, a VAE and two GANs, and compare them on one page.

    Takes about five minutes on one core, with --quick less than one.
    """
    from pyro_dgm.cli.tour import run_tour

    return run_tour(out, quick=quick, seed=seed)


@app.command()
def train(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A model: see pyro-dgm list.", show_default=False)
    ],
    data: Annotated[
        str | None,
        typer.Option(
            "--data", metavar="NAME", help="A data set: see pyro-dgm list. Each model has a default."
        ),
    ] = None,
    data_root: DataRoot = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch missing files into --data-root.")
    ] = False,
    binarize: Annotated[
        str | None,
        typer.Option(
            "--binarize",
            metavar="KIND",
            help="Make images binary: threshold, fixed or dynamic. Only runs on the same pixels compare.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder to save to.  [default: runs/MODEL-DATA]"),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, metavar="N", help="Number of updates.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", metavar="S", help="Time after which training ends.")
    ] = None,
    seed: Seed = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was broken off, from its last checkpoint.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Save into a folder that holds other things.")
    ] = False,
) -> int:
    """Train one model on one data set and save it.

    Ctrl-C saves what was learned. A run that was killed goes on, as if nothing had happened, with the same
    command and --resume.

    \b
    pyro-dgm train real-nvp
    pyro-dgm train vae --data mnist --data-root ~/data --download --seconds 300
    pyro-dgm train real-nvp --resume
    """  # noqa: D301
    from pyro_dgm.cli.train import run_train

    return run_train(
        model,
        data,
        data_root=data_root,
        download=download,
        binarize=binarize,
        out=out,
        steps=steps,
        seconds=seconds,
        seed=seed,
        resume=resume,
        quiet=quiet,
        force=force,
    )


@app.command()
def sample(
    run: RunFolder,
    num: Annotated[
        int | None, typer.Option("--num", min=1, metavar="N", help="How many.  [default: 1000, images 64]")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="A .png, .npy or .csv file.  [default: RUN/samples.png]"),
    ] = None,
    seed: Seed = 0,
) -> int:
    """Draw from a saved run."""
    from pyro_dgm.cli.look import run_sample

    return run_sample(run, num=num, out=out, seed=seed)


@app.command()
def audit(run: RunFolder, data_root: DataRoot = None, seed: Seed = 0) -> int:
    """Check a saved run: density, bounds or samples.

    The exit code is 1 if a number breaks its limit.
    """
    from pyro_dgm.cli.look import run_audit

    return run_audit(run, data_root=data_root, seed=seed)


@app.command()
def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of saved runs on one data set.")
    ],
    data_root: DataRoot = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder of comparison.html and comparison.csv.")
    ] = Path("runs/comparison"),
    num: Annotated[int, typer.Option("--num", min=50, metavar="N", help="Samples of each model.")] = 1000,
    seed: Seed = 0,
) -> int:
    """Set saved runs of any family side by side on one page.

    The exit code is 1 if a run could not be measured or a number breaks its limit.
    """
    from pyro_dgm.cli.compare import run_compare

    return run_compare(runs, data_root=data_root, out=out, num=num, seed=seed)


@app.command(name="list")
def list_names() -> int:
    """List models and data sets."""
    from pyro_dgm.cli.look import run_list

    return run_list()


def run(argv: Sequence[str]) -> int:
    """Run a command line and return its exit code; errors of use become one line on stderr."""
    try:
        code: Any = app(list(argv), prog_name="pyro-dgm", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except KeyboardInterrupt:
        print("\nstopped by Ctrl-C", file=sys.stderr)
        return 130
    except SystemExit as leaving:
        if leaving.code == 143:  # SIGTERM, after everything was saved
            return 143
        return _hush()  # click itself turns a pipe whose reader left into an exit
    except BrokenPipeError:
        return _hush()
    except Exception as error:
        message = _message_of(error)
        if message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        return 2


def _message_of(error: Exception) -> str | None:
    """One line for an error that the user can mend; None for any other."""
    if hasattr(error, "format_message"):  # the command line's own: an unknown option, a missing argument
        text = error.format_message()
    else:
        from pyro_dgm.errors import PyroDGMError

        if not isinstance(error, PyroDGMError | OSError):
            return None
        text = str(error)
    return " ".join(text.split())


def _hush() -> int:
    """The reader of our output has gone: leave without a word, as other programs do."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141
