"""What can go wrong, said in one sentence a scientist understands, with a remedy.

Raise these where the fault is seen; the command line prints them and a dock shows
them once.  Anything else that escapes is a bug and keeps its traceback.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterable

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 78
_LONGEST = 80
_LONGEST_PIECE = 40
_MANY_DIGITS = re.compile(rf"\d{{{_LONGEST_PIECE + 4},}}")
_LINE_ENDS = re.compile(r"\s*[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]\s*")


def quoted(value: object) -> str:
    """A value as it was given, for a sentence: at most 80 characters, whatever it is."""
    try:
        text = _REPR.repr(value)
    except Exception:  # such as a whole number of 5000 digits
        text = f"a {type(value).__name__} that is too long to show"
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


class LabDCTError(Exception):
    """Base of every fault this package explains to the user: one line, no number without end."""

    def __init__(self, *parts: object) -> None:
        if parts and isinstance(parts[0], str):
            text = _MANY_DIGITS.sub(lambda found: f"{found[0][:_LONGEST_PIECE]}...", parts[0])
            parts = (_LINE_ENDS.sub(" ", text), *parts[1:])
        super().__init__(*parts)


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


class LabDCTWarning(UserWarning):
    """Something that had to be decided, or contradicts itself; the work goes on."""


def reason(error: object, most: int = 120) -> str:
    """Why something failed, for the brackets of a sentence: one line, and little of any file."""
    if isinstance(error, UnicodeDecodeError):  # its text holds the whole file
        return f"it is not {error.encoding.upper()} text"
    if isinstance(error, KeyError) and error.args:
        return f"{quoted(error.args[0])} is missing"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    text = "".join(c if c.isprintable() else " " for c in text[: 4 * most])
    text = " ".join(text.split())
    # libraries put what they stumbled over into quotes, or repeat it as it is
    text = _IN_QUOTES.sub(lambda found: f"{found[1]}{found[2][:_LONGEST_PIECE]}...{found[1]}", text)
    text = _ONE_WORD.sub(lambda found: f"{found[0][:_LONGEST_PIECE]}...", text)
    return text if len(text) <= most else text[: most - 3] + "..."


_IN_QUOTES = re.compile(rf"(?<!\w)(['\"`])(?!\s)((?:(?!\1).){{{_LONGEST_PIECE + 4},}})(?:\1|$)")
_ONE_WORD = re.compile(rf"\S{{{_LONGEST_PIECE + 24},}}")


def listed(names: Iterable[str], most: int = 150) -> str:
    """Names parted by commas, as many as a sentence can take."""
    names = list(names)
    text, count = "", 0
    for name in names:
        longer = f"{text}, {name}" if text else name
        if len(longer) > most:
            break
        text, count = longer, count + 1
    more = len(names) - count
    return text + (f" and {more} more" if more else "")
