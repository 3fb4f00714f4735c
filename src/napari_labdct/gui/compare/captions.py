"""What stands in the cells of the views: names of A and B, counts, and what a residual is."""

from __future__ import annotations

from ...spots.matching import Match

#: Width of a caption's letter, and what lies left and right of it, in canvas pixels.
_LETTER_PX, _MARGIN_PX = 6.9, 22


def shorten(before: str, name: str, behind: str, letters: int) -> str:
    """A caption of at most so many letters; what is cut is the end of the name."""
    over = len(before) + len(name) + len(behind) - letters
    if over > 0:
        name = name[: max(3, len(name) - over - 1)].rstrip() + "…"
    return before + name + behind


def first_that_fits(texts: list[str], letters: int) -> str:
    """The first of some texts, longest first, that has at most so many letters; else the last."""
    return next((text for text in texts if len(text) <= letters), texts[-1])


def captions(a: str, b: str, match: Match | None, cell_px: float) -> dict[str, str]:
    """The caption of each derived layer.

    Parameters
    ----------
    a, b : str
        Names of the two sides.
    match : Match, optional
        Counts of the projection shown, if they are known.
    cell_px : float
        Width of a cell in canvas pixels.
    """
    letters = int((cell_px - _MARGIN_PX) / _LETTER_PX)
    n_a = n_b = ""
    agreement = ["Agreement of A and B", "Agreement"]
    if match is not None:
        n_a, n_b = f", {match.n_a}", f", {match.n_b}"
        both, one, two = match.found, len(match.only_a), len(match.only_b)
        agreement = [
            f"Both {both}, only A {one}, only B {two}",
            f"{both} both, {one} A, {two} B",
            f"{both}, {one}, {two}",
        ]
    left = {
        side: [f"Left unmarked by {side} (residual)", f"Left unmarked by {side}", f"Left by {side}"]
        for side in "AB"
    }
    return {
        "a": shorten("A: ", a, n_a, letters),
        "b": shorten("B: ", b, n_b, letters),
        "residual_a": first_that_fits(left["A"], letters),
        "residual_b": first_that_fits(left["B"], letters),
        "agreement": first_that_fits(agreement, letters),
    }
