"""What README and docs print runs as printed: commands are taken, the Python block is executed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_labdct import cli
from napari_labdct.io.training_pairs import read_training_pairs, write_training_pairs

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    """Every ``labdct ...`` line of the code blocks, as words without the comment."""
    text = "\n".join(body for _, body in BLOCK.findall(page.read_text(encoding="utf-8")))
    lines = text.replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("labdct ")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_printed_command_is_taken(page):
    for words in commands(page):
        if "COMMAND" in words or "--help" in words:
            continue
        cli.make_parser(words[0]).parse_args(words)


def test_the_pages_print_commands():
    assert len(commands(ROOT / "README.md")) > 12
    assert len(commands(ROOT / "docs" / "tutorial.md")) == 5


def _scan(folder: Path, frames: int, px: int = 72) -> Path:
    """A small scan with all that tracks need."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(3)
    stack = rng.poisson(200, (frames, px, px))
    for image in stack:
        for row, col in rng.integers(6, px - 10, (5, 2)):
            image[row : row + 4, col : col + 4] += 400
    tifffile.imwrite(folder / "proj.tif", stack.astype(np.uint16))
    (folder / "scan.yaml").write_text(
        "frames: proj.tif\nomega_deg: {start: 0, step: 3}\npixel_um: 60\n"
        "source_sample_mm: 100\nsample_detector_mm: 100\n"
    )
    return folder


def test_the_python_block_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    _scan(tmp_path / "my_scan", 19)
    monkeypatch.chdir(tmp_path)
    blocks = [body for kind, body in BLOCK.findall(PAGES[0].read_text()) if kind == "python"]
    assert len(blocks) == 1
    names: dict = {}
    exec(compile(blocks[0], "README.md", "exec"), names)
    assert "19 of 19" in capsys.readouterr().out
    assert names["spots"].any()
    assert names["surer"].shape == names["denoised"].shape
    assert (tmp_path / "denoised.tif").exists()


def test_the_commands_of_the_tutorial_run_in_their_order(tmp_path, monkeypatch):
    scan = _scan(tmp_path / "sample_data" / "demo", 7)
    tifffile.imwrite(scan / "truth.tif", np.zeros((7, 72, 72), np.uint8))
    monkeypatch.chdir(tmp_path)
    for words in commands(ROOT / "docs" / "tutorial.md"):
        assert cli.main(words) == 0, words
    for name in ("spots.csv", "tracked_mask.tif", "report/report.html"):
        assert (tmp_path / name).exists(), name


def test_a_training_set_is_read_by_its_folder_or_its_train_folder(tmp_path):
    image = np.arange(64.0, dtype=np.float32).reshape(8, 8)
    pair = (3, image, None, image > 60, np.zeros((8, 8), bool))
    assert list(write_training_pairs(tmp_path / "pairs" / "train", [pair], {})) == [3]
    for folder in (tmp_path / "pairs", tmp_path / "pairs" / "train"):
        (read,) = read_training_pairs(folder)
        np.testing.assert_array_equal(read["frame"], image)
