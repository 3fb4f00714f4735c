"""``labdct``: the same runs as the docks, without a screen.

Every command is one module here, imported only when it is the one chosen.  Its flags come from
the job's settings class, so the command line, the docks and the Python library cannot differ.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence

#: One module a command, in the order of work, and what ``labdct --help`` says of it.
COMMANDS = {
    "info": "what a scan holds and what is still missing",
    "simulate": "make a virtual scan with its truth",
    "predict": "list the spots that a grain map should give on a scan",
    "background": "extract the background of a scan",
    "synthesise": "make a training set: simulated spots over measured backgrounds",
    "denoise": "clean a scan with a trained network",
    "track": "confirm the spots of a network result by the projections before and after",
    "routine": "rolling median and LoG, the standard routine",
    "calibrate": "find the geometry of a scan from its own spots",
    "grains": "map the grains that the spots come from",
    "refine": "let the grains look at the spots again: weak ones found, mergers cut",
    "compare-maps": "compare grain maps with a better one: pairs, boundaries, a report",
    "compare": "two masks of a scan: numbers, tables, pictures, a report",
    "spots": "measure every spot, and write tables, masks and labels",
    "convert": "write scans, masks, tables and grain maps in the formats of other programs",
    "run": "run the steps of a recipe file on a scan",
    "batch": "run a recipe file on many scans: plan, run, status, retry, collect",
    "train": "train a network",
    "finetune": "fine-tune a trained network on reviewed spots or on a scan's own background",
    "models": "list trained networks, show their cards, import them, write ONNX",
    "evaluate": "score models or masks: spots, shapes, SNR",
    "doctor": "what this computer has, and the quickest device: for bug reports",
}
#: What was made before Ctrl-C is kept by these; the others begin again.
GO_ON = {
    "simulate", "synthesise", "denoise", "track", "routine", "grains", "refine", "train",
    "finetune", "run", "batch",
}  # fmt: skip
#: They run other commands, so they stand in the room above.
ABOVE = {"run", "batch"}
STOPPED = 130
#: As a program says it that SIGPIPE ended: ``labdct info SCAN | head``.
READER_GONE = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0, 1 (a fault, said in one sentence), 2 (arguments),
    130 (Ctrl-C) or 141 (nobody reads the output any more).
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    chosen = next((word for word in words if not word.startswith("-")), "")
    with _listening() as pressed:
        try:
            try:
                return _run(words, chosen)
            finally:
                sys.stdout.flush()  # here, where a reader that went away can still be met
        except KeyboardInterrupt:
            return _stopped(chosen)
        except BrokenPipeError:
            if not _output_is_gone():
                raise
            return READER_GONE
        except Exception:
            if not pressed:
                raise
            return _stopped(chosen)  # extension modules make other faults of it


def _stopped(chosen: str) -> int:
    what = "goes on where it stopped" if chosen in GO_ON else "begins again"
    print(f"labdct: stopped; the same command {what}.", file=sys.stderr)
    return STOPPED


@contextlib.contextmanager
def _listening() -> Iterator[list[int]]:
    """Ctrl-C is a KeyboardInterrupt, and noted; pressed again it ends at once."""
    pressed: list[int] = []

    def press(number: int, _frame: object) -> None:
        if pressed:
            os._exit(STOPPED)
        pressed.append(number)
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGINT, press)
    except ValueError:  # not in the main thread, where no signal comes
        yield pressed
        return
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _run(words: list[str], chosen: str) -> int:
    from ..core.errors import LabDCTError, LabDCTWarning

    given = make_parser(chosen).parse_args(words)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", LabDCTWarning)
            warnings.showwarning = _note(warnings.showwarning)
            given.run(given)
    except LabDCTError as error:
        print(f"labdct: {error}", file=sys.stderr)
        return 1
    return 0


def _note(usual):
    """Show our own warnings as a plain sentence on standard error, others as usual."""
    from ..core.errors import LabDCTWarning

    def show(message, category, *rest, **more):
        if issubclass(category, LabDCTWarning):
            print(f"Note: {message}", file=sys.stderr)
        else:
            usual(message, category, *rest, **more)

    return show


def make_parser(chosen: str = ""):
    """The parser of the command line, with the flags of the chosen command only.

    Parameters
    ----------
    chosen : str
        Its module is imported, and no other.
    """
    import argparse
    import importlib

    from .._version import __version__

    parser = argparse.ArgumentParser(
        prog="labdct", description="Find diffraction spots in LabDCT scans."
    )
    parser.add_argument("--version", action="version", version=f"labdct {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, line in COMMANDS.items():
        command = commands.add_parser(name, help=line, description=f"{line[0].upper()}{line[1:]}.")
        if name == chosen:
            home = "napari_labdct.campaign.commands" if name in ABOVE else __name__
            importlib.import_module(f".{name.replace('-', '_')}", home).add_command(command)
    return parser


def perform(words: Sequence[str]) -> None:
    """Run one command inside another: faults are raised, not printed.

    Raises
    ------
    LabDCTError
        What the command would have said.
    """
    given = make_parser(words[0]).parse_args(words)
    given.run(given)


def _output_is_gone() -> bool:
    """Whether it is our reader that went away; if so, Python need not say it again at its end."""
    try:  # pipes to other processes break, too, and that would be a fault
        sys.stdout.write("\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False
