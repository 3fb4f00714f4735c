"""Every command may be killed before any file operation: run again, it gives the same files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

SIMULATE = (
    "simulate -o OUT/scan --diameter-um=80 --height-um=80 --mean-grain-um=40 --rows=48 --cols=56 "
    "--pixel-um=120 --frames=2 --start-deg=10 --step-deg=25 --noise --background=50"
)
COMMANDS = {
    "routine": "routine IN/frames.tif -o OUT/mask.tif --median-window 3",
    "denoise": "denoise IN/frames.tif -o OUT/clean.tif --spots OUT/mask.tif --table OUT/spots.csv "
    "--median-window 3 --binning 1 --device cpu",
    "simulate": SIMULATE,
    "spots": "spots IN/frames.tif --mask IN/mask.tif -o OUT/s.csv -o OUT/s.h5 -o OUT/s.json "
    "--binary OUT/b.tif --labels OUT/l.tif --median-window 3",
    "background": "background IN/five.tif -o OUT/set.h5 --frames OUT/background.tif",
}


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Path:
    """A scan of three projections and masks for it, and one of five, as a background needs."""
    folder = tmp_path_factory.mktemp("given")
    five = np.random.default_rng(0).poisson(100, (5, 32, 40)).astype(np.uint16)
    tifffile.imwrite(folder / "five.tif", five, photometric="minisblack")
    frames = five[:3]
    mask = np.zeros(frames.shape, np.uint8)
    mask[:, 10:14, 10:14] = 255
    frames[mask > 0] += 200
    tifffile.imwrite(folder / "frames.tif", frames, photometric="minisblack")
    tifffile.imwrite(folder / "mask.tif", mask, photometric="minisblack")
    return folder


def _words(name: str, given: Path, out: Path) -> list[str]:
    text = COMMANDS[name]
    return [w.replace("IN/", f"{given}/").replace("OUT/", f"{out}/") for w in text.split()]


@pytest.fixture(scope="module")
def ask(given, tmp_path_factory):
    """Run a command in a child: ``ask(words, kill)`` gives exit status and operations."""
    out = tmp_path_factory.mktemp("warm")
    home = tmp_path_factory.mktemp("home")
    kept = {name: str(home) for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
    with subprocess.Popen(
        [sys.executable, Path(__file__).with_name("killer.py")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, **kept, "OMP_NUM_THREADS": "1"},
    ) as server:  # fmt: skip

        def tell(what) -> None:
            print(json.dumps(what), file=server.stdin, flush=True)

        def run(words: list[str], kill: int = 0) -> tuple[int, int]:
            tell({"words": words, "kill": kill})
            return tuple(json.loads(server.stdout.readline()))

        tell([_words(name, given, out / name) for name in COMMANDS])
        yield run
        server.stdin.close()


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_before_any_file_operation_it_gives_the_same_files(name, given, ask, tmp_path):
    undisturbed = tmp_path / "undisturbed"
    status, operations = ask(_words(name, given, undisturbed))
    assert status == 0
    assert operations > 5
    whole = _files(undisturbed)
    assert not [path for path in whole if ".tmp" in path or ".part." in path]
    wrong = {}
    for kill in range(1, operations + 1):
        out = tmp_path / str(kill)
        words = _words(name, given, out)
        assert ask(words, kill)[0] == -9
        status, _ = ask(words)
        found = _files(out)
        if status or found != whole:
            wrong[kill] = (
                status,
                sorted(n for n in {*found, *whole} if found.get(n) != whole.get(n)),
            )
    assert not wrong
