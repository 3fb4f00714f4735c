"""One rule for every output of every command: only our own same result is gone on with."""

from __future__ import annotations

import pytest
from crash_commands import COMMANDS

#: Places of outputs, or of files among them, where something of the user's may stand.
PLACES = {
    "routine": ["mask.tif"],
    "denoise": ["clean.tif", "mask.tif", "spots.csv"],
    "track": ["t.tif", "m.tif", "s.csv"],
    "simulate": ["scan/frames.tif", "scan/labels.tif", "scan/scan.yaml", "scan/grains.h5",
                 "scan/spots.csv"],
    "predict": ["spots.csv"],
    "spots": ["s.csv", "s.h5", "s.json", "s.parquet", "b.tif", "l.tif", "pairs/pairs.json",
              "pairs/frame_0000.tif"],
    "background": ["set.h5", "background.tif"],
    "synthesise": ["set/recipe.json", "set/train/pairs.json"],
    "compare": ["report/recipe.json", "report/report.html", "report/spots_a.csv"],
    "evaluate": ["quality/recipe.json", "quality/quality.json", "quality/snr.csv"],
    "grains": ["grains.h5", "grains.csv"],
    "run": ["one/denoise.tif", "one/measure.csv"],
    "batch": ["many/frames/denoise.tif"],
    "train": ["run/recipe.json", "run/best.safetensors", "run/last.safetensors", "run/log.jsonl"],
    "finetune": ["mine.safetensors", "mine.json", "mine.png", "mine.log.jsonl"],
    "refine": ["refined/labels.tif", "refined/spots.csv", "refined/leftovers.csv"],
    "onnx": ["compact.onnx"],
}  # fmt: skip


def test_every_command_that_writes_is_here():
    from napari_labdct import cli

    words = {text.split()[0] for text in COMMANDS.values()}
    writes_nothing = {"info", "doctor"}
    # They have no recipe to go on by: whatever is there stays unless --overwrite is given, and
    # calibrate keeps the old scan.yaml. Their own tests say so.
    has_no_recipe = {"convert", "compare-maps", "calibrate"}
    assert words == set(cli.COMMANDS) - writes_nothing - has_no_recipe
    assert set(PLACES) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_not_ours_stays_unless_it_may_be_replaced(name, ask, tmp_path):
    for number, place in enumerate(PLACES[name]):
        out = tmp_path / str(number)
        file = out / place
        file.parent.mkdir(parents=True)
        file.write_bytes(b"mine")
        refused = ask(ask.words(name, out))
        assert refused.status == 1, place
        assert refused.printed.count("labdct: ") == 1
        assert "--overwrite" in refused.printed
        assert file.read_bytes() == b"mine"
    replaced = ask([*ask.words(name, out), "--overwrite"])
    assert replaced.status == 0, replaced.printed


@pytest.mark.parametrize("name", COMMANDS)
def test_the_same_command_twice_leaves_the_same_files(name, ask, undisturbed, look, tmp_path):
    words = ask.words(name, tmp_path)
    runs = [ask(words), ask(words)]
    assert [run.status for run in runs] == [0, 0], runs[1].printed
    assert not look(tmp_path, undisturbed(name).files)
