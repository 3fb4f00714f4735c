"""What can go wrong, said in one sentence a scientist understands, with a remedy.

Raise these where the fault is seen; the command line prints them and a dock shows
them once.  Anything else that escapes is a bug and keeps its traceback.
"""

from __future__ import annotations

import reprlib

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 78
_LONGEST = 80


def quoted(value: object) -> str:
    """A value as it was given, for a sentence: at most 80 characters, whatever it is."""
    try:
        text = _REPR.repr(value)
    except Exception:  # such as a whole number of 5000 digits
        text = f"a {type(value).__name__} that is too long to show"
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


class LabDCTError(Exception):
    """Base of every fault this package explains to the user."""


class ScanError(LabDCTError):
    """The projections, or what is written beside them, cannot be used."""


class SettingsError(LabDCTError, ValueError):
    """A parameter is out of its range, or parameters contradict each other."""


class ModelError(LabDCTError):
    """A model file, or the device it should run on, cannot be used."""


class OutputError(LabDCTError):
    """A result cannot be written where it was asked for."""


class InputsChangedError(OutputError):
    """A result was begun with files that have changed since."""
