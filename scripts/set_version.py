"""Write the version of a tag wherever it stands: python scripts/set_version.py 0.2.0"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Each file that names the version, and the line that does.
PLACES = {
    "src/napari_labdct/_version.py": r'^__version__ = "(.*)"$',
    "CITATION.cff": r"^version: (.*)$",
    "packaging/recipe.yaml": r'^  version: "(.*)"$',
}
_VERSION = re.compile(r"\d+\.\d+\.\d+((a|b|rc|\.dev)\d+)?")


def versions(root: Path = ROOT) -> dict[str, str]:
    """The version that each file names."""
    found = {}
    for name, pattern in PLACES.items():
        (found[name],) = re.findall(pattern, (root / name).read_text(encoding="utf-8"), re.M)
    return found


def set_version(version: str, root: Path = ROOT) -> None:
    """Write a version into every file that names it.

    Raises
    ------
    SystemExit
        It is not a version such as 0.2.0 or 0.2.0rc1.
    """
    if not _VERSION.fullmatch(version):
        raise SystemExit(f"'{version}' is not a version such as 0.2.0 or 0.2.0rc1; mend the tag.")
    for name, old in versions(root).items():
        path = root / name
        text = path.read_text(encoding="utf-8")
        (line,) = re.findall(PLACES[name].replace("(.*)", ".*"), text, re.M)
        path.write_text(text.replace(line, line.replace(old, version)), encoding="utf-8")


if __name__ == "__main__":
    set_version(*sys.argv[1:])
