"""What a wheel and an sdist must hold, and must not: python scripts/check_dist.py dist/*"""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

WANTED = (
    "napari_labdct/napari.yaml",
    "napari_labdct/py.typed",
    "napari_labdct/models/compact.safetensors",
    "napari_labdct/models/accurate.safetensors",
    "napari_labdct/pages/tutorial.md",
    "napari_labdct/sample_data/demo/scan.yaml",
    "/entry_points.txt",
    "/LICENSE",
)
UNWANTED = ("tests/", "docs/", "benchmarks/", ".part", "__pycache__", ".github")
LARGEST_MB = 25


def names(path: Path) -> list[str]:
    """Files in a wheel or an sdist; of an sdist without the folder that holds all."""
    if path.suffix == ".whl":
        return zipfile.ZipFile(path).namelist()
    with tarfile.open(path) as tar:
        return [name.partition("/")[2] for name in tar.getnames()]


def faults(path: Path) -> list[str]:
    """What is wrong with a wheel or an sdist, one sentence each."""
    held = names(path)
    found = [f"{path.name} holds {n}" for n in held for bad in UNWANTED if bad in n]
    if path.suffix == ".whl":
        found += [f"{path.name} lacks {w}" for w in WANTED if not any(w in n for n in held)]
    else:
        lacking = {"setup.cfg", "pyproject.toml", "README.md", "LICENSE"} - set(held)
        found += [f"{path.name} lacks {name}" for name in sorted(lacking)]
    if (size := path.stat().st_size / 1e6) > LARGEST_MB:
        found.append(f"{path.name} is {size:.0f} MB, more than {LARGEST_MB}")
    return found


def main(paths: list[str]) -> int:
    """Print the contents by folder and what is wrong; 1 if anything is."""
    wrong = []
    for path in map(Path, paths):
        held = names(path)
        print(f"{path.name}: {len(held)} files, {path.stat().st_size / 1e6:.1f} MB")
        wrong += faults(path)
    print("\n".join(wrong) or "nothing is missing, nothing too much")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
