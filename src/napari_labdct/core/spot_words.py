"""The words that spot tables use for coded columns."""

from __future__ import annotations

#: Columns that hold a small number for a word, and the words.
WORDS: dict[str, tuple[str, ...]] = {
    "found_by": ("unknown", "network", "routine", "both"),
    "status": ("undecided", "accepted", "rejected"),
}

#: Columns that tables of earlier versions do not have.
LATER_COLUMNS = ("significance",)
