"""Data from a file is checked once: kinds, names, depth, size."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_labdct.core.errors import LabDCTError
from napari_labdct.core.frame_store import spare_inputs
from napari_labdct.core.recipes import recipe_beside
from napari_labdct.core.schema import Mismatch, check, parse_json
from napari_labdct.io.training_pairs import read_training_pairs, write_training_pairs

KIND = {"name": str, "size": (int, float), "frames": [int], "note?": str}
GOOD = {"name": "iron", "size": 2.5, "frames": [0, 3], "more": None}


def test_what_is_of_its_kind_passes_as_it_is():
    assert check(GOOD, KIND) is GOOD
    assert check({**GOOD, "note": "x"}, KIND)["note"] == "x"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": 5}, "'name' is a int, not a str"),
        ({"size": float("nan")}, "'size' is nan"),
        ({"size": True}, "'size' is a bool"),
        ({"frames": 3}, "'frames' is a int, not a list"),
        ({"frames": [0, "x"]}, "an entry of 'frames' is a str"),
        ({"note": []}, "'note' is a list"),
    ],
)
def test_what_is_not_is_said(change, says):
    with pytest.raises(Mismatch, match=says):
        check({**GOOD, **change}, KIND)


def test_a_missing_name_and_another_thing_are_said():
    with pytest.raises(Mismatch, match="lacks 'frames'"):
        check({k: v for k, v in GOOD.items() if k != "frames"}, KIND)
    with pytest.raises(Mismatch, match="is a list, not a dict"):
        check([GOOD], KIND)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ', "x" * 100])
def test_text_that_is_no_json_or_never_ends_is_a_mismatch(text):
    with pytest.raises(Mismatch):
        parse_json(text)
    with pytest.raises(Mismatch, match="more than 10"):
        parse_json("[1, 2, 3, 4]", most_bytes=10)


@pytest.mark.parametrize(
    "made", [[1], {"input": [1]}, {"model": 5}, {"model": {"threshold": "high"}}, {"settings": 0}]
)
def test_a_recipe_of_another_kind_is_no_recipe(tmp_path, made):
    (tmp_path / "c.tif.json").write_text(json.dumps({"recipe": made}))
    assert recipe_beside(tmp_path / "c.tif") == {}


@pytest.mark.parametrize("pairs", [5, [5], [[]], None, [{"index": "0"}], [{"frame": "f.tif"}]])
def test_a_list_of_pairs_of_another_kind_is_one_sentence(tmp_path, pairs):
    image = np.ones((8, 8), np.uint16)
    mask = image > 0
    assert list(write_training_pairs(tmp_path, [(0, image, None, mask, ~mask)], {})) == [0]
    listed = json.loads((tmp_path / "pairs.json").read_text())
    (tmp_path / "pairs.json").write_text(json.dumps({**listed, "pairs": pairs}))
    with pytest.raises(LabDCTError, match=r"no usable pairs\.json"):
        list(read_training_pairs(tmp_path))


@pytest.mark.parametrize("name", ["a" * 250 + ".tif", "a\nb.tif", "~nobody-here/a.tif"])
def test_a_name_that_no_file_can_have_is_one_sentence(tmp_path, name):
    with pytest.raises(LabDCTError) as fault:
        spare_inputs([name if name[0] == "~" else tmp_path / name])
    assert len(str(fault.value)) < 250
