"""Every command that writes, in small, and a process in which each is quickly run and disturbed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from crash_commands import COMMANDS, GIVEN, placed


@pytest.fixture(scope="session")
def given(tmp_path_factory) -> Path:
    """A folder with scans, masks and a review."""
    from napari_labdct.review.review import Review

    folder = tmp_path_factory.mktemp("given")
    five = np.random.default_rng(0).poisson(100, (5, 64, 64)).astype(np.uint16)
    tifffile.imwrite(folder / "five.tif", five, photometric="minisblack")
    frames = five[:3]
    mask = np.zeros(frames.shape, np.uint8)
    mask[:, 10:14, 10:14] = 255
    frames[mask > 0] += 200
    tifffile.imwrite(folder / "frames.tif", frames, photometric="minisblack")
    tifffile.imwrite(folder / "mask.tif", mask, photometric="minisblack")
    tifffile.imwrite(folder / "other.tif", np.roll(mask, 1, 2), photometric="minisblack")
    (folder / "recipe.yaml").write_text(
        "labdct_recipe: 1\nsteps:\n- step: denoise\n"
        "  settings: {median_window: 3, binning: 1, device: cpu}\n"
        "- step: measure\n  settings: {median_window: 3}\n"
    )
    review = Review(mask.shape, folder / "one.review.jsonl")
    review.set_status([(0, 1), (1, 1)], 1)
    return folder


class Ask:
    """Runs commands in children of a warm process; see `killer`."""

    def __init__(self, server: subprocess.Popen, given: Path) -> None:
        self._server, self.given = server, given

    def words(self, name: str, out: Path) -> list[str]:
        """A command of `COMMANDS` that writes into a folder."""
        return placed(COMMANDS[name], self.given, out)

    def __call__(self, words: list[str] | None = None, **wish) -> SimpleNamespace:
        if words is not None:
            wish["words"] = words
        return SimpleNamespace(**self._answer(wish))

    def several(self, lists: list[list[dict]]) -> list[list[SimpleNamespace]]:
        """Lists of runs, two lists at a time."""
        answers = self._answer({"several": lists})
        return [[SimpleNamespace(**one) for one in answer] for answer in answers]

    def _answer(self, wish: dict):
        print(json.dumps(wish), file=self._server.stdin, flush=True)
        return json.loads(self._server.stdout.readline())


@pytest.fixture(scope="session")
def ask(given, tmp_path_factory):
    """See `Ask`."""
    out = tmp_path_factory.mktemp("warm")
    home = tmp_path_factory.mktemp("home")
    kept = {name: str(home) for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
    first = [placed(text, given, out) for text in GIVEN]
    first += [placed(text, given, out / name) for name, text in COMMANDS.items()]
    with open(home / "log", "w") as log, subprocess.Popen(
        [sys.executable, Path(__file__).with_name("killer.py")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
        env={**os.environ, **kept, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"},
    ) as server:  # fmt: skip
        print(json.dumps(first), file=server.stdin, flush=True)
        assert server.stdout.readline() == "ready\n", (home / "log").read_text()[-3000:]
        yield Ask(server, given)
        server.stdin.close()


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="session")
def undisturbed(ask, tmp_path_factory):
    """The files and the number of file operations of a command that nothing happens to."""
    known: dict[str, SimpleNamespace] = {}

    def run(name: str) -> SimpleNamespace:
        if name not in known:
            out = tmp_path_factory.mktemp(name) / "out"
            known[name] = ask(ask.words(name, out), seen=str(out))
            known[name].files = files(out)
            assert known[name].status == 0, known[name].printed
        return known[name]

    return run


@pytest.fixture(scope="session")
def look():
    """What is wrong with a folder: names of files that are missing, left over, or different."""

    def wrong(out: Path, whole: dict[str, bytes]) -> list[str]:
        found = files(out)
        return sorted(n for n in {*found, *whole} if found.get(n) != whole.get(n))

    return wrong


@pytest.fixture(scope="session")
def twice():
    """How many times too often something was done in several runs, the worst of all results."""

    def count(*runs: SimpleNamespace) -> int:
        often = Counter(line for run in runs for line in run.done)
        again = Counter(line.split()[0] for line, n in often.items() for _ in range(n - 1))
        return max(again.values(), default=0)

    return count
