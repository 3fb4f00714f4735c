"""Print what CHANGELOG.md says of a version: python scripts/changelog_part.py 0.2.0"""

from __future__ import annotations

import re
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "CHANGELOG.md"


def part(page: str, version: str) -> str:
    """The text below the heading of a version, up to the next heading of that level.

    Raises
    ------
    SystemExit
        The page has no such heading, or nothing below it.
    """
    found = re.search(rf"^## {re.escape(version)}\b.*?\n(.*?)(?=^## |\Z)", page, re.M | re.S)
    if not found or not found[1].strip():
        raise SystemExit(f"CHANGELOG.md says nothing of {version}; write its part first.")
    return found[1].strip() + "\n"


if __name__ == "__main__":
    print(part(PAGE.read_text(encoding="utf-8"), sys.argv[1]), end="")
