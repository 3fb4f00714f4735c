"""The order of files and the rotation angles that their names tell."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_NUMBER = re.compile(r"([+-]?)(\d+(?:[.,]\d+)*)")
_WORDS = re.compile(r"(deg|degrees?|°|angle|omega|phi|theta|rot|rotation)$", re.IGNORECASE)
_MOST_NAMED = 3
_MOST_MISSING = 1000  # in one gap


@dataclass(frozen=True)
class _Rules:
    """How the numbers of one set of names are read."""

    sign_after_letter: bool  # 'turn-60' beside 'turn60'; not 'proj-001' beside 'proj-002'
    decimals: bool  # '0.5' beside '0.25'; not '1.9' beside '1.10'


@dataclass(frozen=True)
class _Name:
    """A name as texts with numbers between them."""

    texts: tuple[str, ...]
    numbers: tuple[float, ...]
    marked: tuple[bool, ...]  # with a sign, a decimal point, or a word such as deg beside it
    written: tuple[str, ...] = ()  # the numbers as they stand in the name
    worded: tuple[bool, ...] = ()  # with such a word

    @property
    def key(self) -> tuple:
        between = (v for pair in zip(self.texts, self.numbers) for v in pair)
        return (*between, self.texts[-1])


def natural_order(paths: Iterable[Path]) -> list[Path]:
    """Files in the order of the numbers in their names, folder by folder.

    Numbers may have a sign and decimals, as where names tell angles.  A hyphen that parts a
    word from a counter, as in ``proj-001``, is not a sign.  Folders keep the order in which
    they first appear.
    """
    paths = list(paths)
    read = dict(zip(paths, _read([p.stem for p in paths])))
    folders = {folder: k for k, folder in enumerate(dict.fromkeys(p.parent for p in paths))}
    return sorted(paths, key=lambda p: (folders[p.parent], read[p].key, p.name))


def angles_from_names(paths: Sequence[Path], worded: bool = False) -> np.ndarray | None:
    """Rotation angles that the names of the projections tell, degrees ``(n,)``.

    One number that differs from name to name is taken for the angle if it has a sign or
    decimals in some names, or stands beside a word such as ``deg`` or ``omega``.  None if no
    number, or more than one, is so.

    Parameters
    ----------
    paths : sequence of path
        In the order of the projections.
    worded : bool
        Only a number beside such a word counts, so that nothing is guessed.
    """
    names = _read([p.stem for p in paths])
    if len(names) < 2 or len({name.texts for name in names}) > 1:
        return None
    numbers = np.array([name.numbers for name in names])
    marks = [name.worded if worded else name.marked for name in names]
    marked = np.array(marks, bool)
    found = [
        column
        for column, is_marked in zip(numbers.T, marked.T)
        if is_marked.any() and np.unique(column).size == column.size and np.ptp(column) <= 720
    ]
    return found[0] if len(found) == 1 else None


def odd_names(paths: Sequence[Path]) -> list[Path]:
    """Files named by another pattern than most, such as a reference image among projections."""
    names = _read([p.stem for p in paths])
    usual, count = Counter(name.texts for name in names).most_common(1)[0]
    if 2 * count <= len(names):
        return []
    return [path for path, name in zip(paths, names) if name.texts != usual]


def about_names(paths: Sequence[Path], omega_deg: np.ndarray | None) -> list[str]:
    """What the names of the files, one a projection, say that a user should know.

    Parameters
    ----------
    paths : sequence of path
        In the order of the projections.
    omega_deg : array of float (n,), optional
        The angles that are known otherwise.

    Returns
    -------
    list of str
        Sentences: angles in the names that nobody uses, or that contradict `omega_deg`; missing
        numbers; files named otherwise than most.
    """
    if len(paths) < 3:
        return []
    notes = []
    odd = odd_names(paths)
    if odd:
        notes.append(f"Named otherwise than the other files: {_some([p.name for p in odd])}.")
        return notes + _missing([p for p in paths if p not in odd])
    notes += _missing(paths)
    told = angles_from_names(paths)
    if told is None:
        return notes
    span = f"{told[0]:g} to {told[-1]:g} deg"
    if omega_deg is None:
        notes.append(f"The file names tell angles ({span}); enter them as omega_deg to use them.")
    elif told.size == np.size(omega_deg):
        away = np.abs((told - omega_deg + 180) % 360 - 180)
        worst = int(np.argmax(away))
        # names are rounded more than lists of angles
        if away[worst] > 0.51:
            notes.append(
                f"{paths[worst].name} tells {told[worst]:g} deg, but omega_deg says "
                f"{omega_deg[worst]:g} deg; check the angles and the order of the files."
            )
    return notes


def missing_names(paths: Sequence[Path]) -> list[str]:
    """Names that the numbers in the other names leave out; empty if they are not regular."""
    return [name for _, _, between in _gaps(paths) for name in between]


def _missing(paths: Sequence[Path]) -> list[str]:
    """A sentence on the files that the numbers in the names leave out."""
    said = []
    for one, other, between in _gaps(paths):
        what = _some(between) if between else "a file"
        verb = "seem" if len(between) > 1 else "seems"
        said.append(f"{what} {verb} to be missing between {one} and {other}")
    if not said:
        return []
    text = _some(said, "; ")
    return [f"{text[0].upper() if text.startswith('a file') else text[0]}{text[1:]}."]


def _gaps(paths: Sequence[Path]) -> list[tuple[str, str, list[str]]]:
    """Names before and after each gap in a regular number, and those that would fill it.

    A number is regular if it goes on in equal steps but for a few gaps of whole steps.
    """
    names = _read([p.stem for p in paths])
    if len(names) < 3 or len({name.texts for name in names}) > 1:
        return []
    numbers = np.array([name.numbers for name in names])
    varying = [k for k, column in enumerate(numbers.T) if np.ptp(column) > 0]
    steps = {k: step for k in varying if (step := _usual_step(numbers[:, k])) is not None}
    counters = [k for k in steps if _skips(numbers[:, k], steps[k])]
    if not counters:
        return []
    leading = counters[0]
    order = np.argsort(numbers[:, leading])
    skipped = np.rint(np.diff(numbers[order, leading]) / steps[leading]).astype(int)
    found = []
    for at in np.flatnonzero(skipped > 1):
        one, other, count = order[at], order[at + 1], int(skipped[at])
        difference = numbers[other] - numbers[one]
        # other numbers in the name are known only where they are regular, too
        known = all(
            k in steps and np.isclose(abs(difference[k]), count * steps[k], atol=1e-6)
            for k in varying
        )
        values = [numbers[one] + difference * j / count for j in range(1, count)]
        between = [_named(paths[one], names, one, varying, v) for v in values] if known else []
        found.append((paths[one].name, paths[other].name, between))
    return found


def _usual_step(column: np.ndarray) -> float | None:
    """Step that most neighbours in size are apart, if all are whole multiples of it."""
    steps = np.diff(np.sort(column)).round(6)
    values, counts = np.unique(steps, return_counts=True)
    step = float(values[np.argmax(counts)])
    whole = step > 0 and np.all(np.abs(steps / step - np.rint(steps / step)) < 1e-3)
    return step if whole and steps.min() >= step - 1e-6 else None


def _skips(column: np.ndarray, step: float) -> bool:
    """Whether a regular number leaves some out, but so few that they are missing."""
    steps = np.diff(np.sort(column))
    gaps = np.count_nonzero(steps > 1.5 * step)
    few = gaps * (2 if step == 1 else 4) <= steps.size  # what counts in ones hardly skips any
    return gaps > 0 and few and steps.max() < _MOST_MISSING * step


def _named(path: Path, names: list[_Name], like: int, varying: list[int], values) -> str:
    """The name of a file with other numbers, written as those of the others are."""
    name, numbers = names[like], list(names[like].written)
    for k in varying:
        whole, point, decimals = re.match(r"[+-]?(\d+)([.,]?)(\d*)", numbers[k]).groups()
        every = [other.written[k].lstrip("+-") for other in names]
        padded = any(len(text) > 1 and text[0] == "0" and text[1].isdigit() for text in every)
        width = len(whole) if padded else 1
        digits = f"{abs(values[k]):.{len(decimals)}f}".replace(".", point or ".")
        head, *tail = re.split(r"([.,])", digits)
        plus = "+" if any(other.written[k].startswith("+") for other in names) else ""
        sign = "-" if round(values[k], len(decimals)) < 0 else plus
        numbers[k] = sign + head.zfill(width) + "".join(tail)
    between = "".join(number + text for number, text in zip(numbers, name.texts[1:], strict=True))
    return name.texts[0] + between + path.suffix


def _some(words: Sequence[str], between: str = ", ") -> str:
    more = len(words) - _MOST_NAMED
    return between.join(words[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _read(stems: Sequence[str]) -> list[_Name]:
    rules = _rules(stems)
    return [_parse(stem, rules) for stem in stems]


def _rules(stems: Sequence[str]) -> _Rules:
    after_letter, plain, parts = set(), set(), set()
    for stem in stems:
        for match in _NUMBER.finditer(stem):
            before = stem[: match.start()]
            place = re.sub(r"\d+", "#", before)
            if match[1] and before[-1:].isalpha():
                after_letter.add(place)
            elif not match[1]:
                plain.add(place)
            pieces = re.split("[.,]", match[2])
            if len(pieces) == 2:
                parts.add(pieces[1])
    # 1.9 and 1.10 are counters; 0.5, 0.25 and 1.0 are decimals, as 0.50, 0.25 and 1.00 are
    counters = len({len(p) for p in parts}) > 1 and any(p != "0" and p[-1] == "0" for p in parts)
    return _Rules(bool(after_letter & plain), not counters)


def _parse(stem: str, rules: _Rules) -> _Name:
    texts, numbers, marked, written, words, at = [""], [], [], [], [], 0
    for match in _NUMBER.finditer(stem):
        before = stem[at : match.start()]
        last = stem[: match.start()][-1:]
        sign = match[1]
        is_sign = (
            bool(sign) and not last.isdigit() and (rules.sign_after_letter or not last.isalpha())
        )
        texts[-1] += before + ("" if is_sign else sign)
        factor = -1.0 if is_sign and sign == "-" else 1.0
        pieces = re.split("([.,])", match[2])
        decimal = len(pieces) == 3 and rules.decimals
        values = [".".join(pieces[::2])] if decimal else pieces[::2]
        worded = bool(_WORDS.search(re.sub(r"[\W_]+$", "", texts[-1]))) or bool(
            re.match(r"[\W_]?(deg|°)", stem[match.end() :], re.IGNORECASE)
        )
        for k, value in enumerate(values):
            if k:
                texts[-1] += pieces[2 * k - 1]
            numbers.append((factor if k == 0 else 1.0) * float(value))
            marked.append(decimal or is_sign or worded)
            written.append((sign if is_sign and k == 0 else "") + (match[2] if decimal else value))
            words.append(worded)
            texts.append("")
        at = match.end()
    texts[-1] += stem[at:]
    return _Name(tuple(texts), tuple(numbers), tuple(marked), tuple(written), tuple(words))
