from __future__ import annotations

import errno
import json

import numpy as np
import pytest
import tifffile

from napari_labdct.core import frame_store
from napari_labdct.core.errors import OutputError
from napari_labdct.core.frame_store import FrameStore
from napari_labdct.core.recipes import recipe, recipe_hash
from napari_labdct.scan.scan import Scan
from napari_labdct.spots.log_routine import RoutineSettings

SHAPE = (4, 6, 7)
SCAN = Scan(np.arange(4 * 42, dtype=np.uint16).reshape(SHAPE))
RECIPE = recipe("test", RoutineSettings(), SCAN)


def frame(i):
    return np.full(SHAPE[1:], 10 + i, np.uint8)


def test_frames_arrive_in_any_order_and_the_file_takes_its_name_when_whole(tmp_path):
    path = tmp_path / "out" / "clean.tif"
    store = FrameStore.open_or_create(path, SHAPE, np.uint8, RECIPE, orientation=4)
    for i in (2, 0, 3):
        store.write(i, frame(i))
    assert not path.exists()
    assert store.missing() == [1]
    np.testing.assert_array_equal(store[1], 0)
    np.testing.assert_array_equal(store[3], frame(3))
    store.write(1, frame(1))
    assert store.complete
    with tifffile.TiffFile(path) as tif:
        assert len(tif.pages) == 4
        assert tif.pages[0].tags[274].value == 4
        np.testing.assert_array_equal(tif.asarray(), np.stack([frame(i) for i in range(4)]))
    np.testing.assert_array_equal(store[:], tifffile.imread(path))
    assert sorted(p.name for p in path.parent.iterdir()) == ["clean.tif", "clean.tif.json"]


def test_a_second_run_of_the_same_recipe_goes_on(tmp_path):
    path = tmp_path / "clean.tif"
    first = FrameStore.open_or_create(path, SHAPE, np.uint8, RECIPE)
    first.write(1, frame(1))
    again = recipe("test", RoutineSettings(), SCAN.replace(name="renamed"))
    second = FrameStore.open_or_create(path, SHAPE, np.uint8, again)
    assert second.missing() == [0, 2, 3]
    np.testing.assert_array_equal(second[1], frame(1))


def test_another_recipe_is_refused_unless_overwriting(tmp_path):
    path = tmp_path / "clean.tif"
    FrameStore.open_or_create(path, SHAPE, np.uint8, RECIPE).write(0, frame(0))
    other = recipe("test", RoutineSettings(sigma_px=3), SCAN)
    with pytest.raises(OutputError, match="already holds another result"):
        FrameStore.open_or_create(path, SHAPE, np.uint8, other)
    fresh = FrameStore.open_or_create(path, SHAPE, np.uint8, other, overwrite=True)
    assert fresh.missing() == [0, 1, 2, 3]


def test_foreign_files_are_not_overwritten(tmp_path):
    path = tmp_path / "precious.tif"
    path.write_bytes(b"my data")
    with pytest.raises(OutputError, match="already holds another result"):
        FrameStore.open_or_create(path, SHAPE, np.uint8, RECIPE)
    assert path.read_bytes() == b"my data"


def test_what_the_recipe_hash_counts():
    again = recipe("test", RoutineSettings(), SCAN.replace(name="renamed"))
    assert recipe_hash(again | {"created": "tomorrow"}) == recipe_hash(RECIPE)
    assert recipe_hash(recipe("test", RoutineSettings(background=7), SCAN)) != recipe_hash(RECIPE)
    assert recipe_hash(json.loads(json.dumps(RECIPE))) == recipe_hash(RECIPE)


def test_wrong_ending_and_missing_permission(tmp_path):
    with pytest.raises(OutputError, match="must end in"):
        FrameStore.open_or_create(tmp_path / "clean.png", SHAPE, np.uint8, RECIPE)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose another folder"):
        FrameStore.open_or_create(tmp_path / "file" / "clean.tif", SHAPE, np.uint8, RECIPE)


def test_a_disk_too_small_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(
        frame_store.shutil, "disk_usage", lambda _: type("usage", (), {"free": 10})()
    )
    with pytest.raises(OutputError, match="free some space"):
        FrameStore.open_or_create(tmp_path / "clean.tif", SHAPE, np.uint8, RECIPE)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_keeps_the_frames_before(tmp_path, monkeypatch):
    path = tmp_path / "clean.tif"
    store = FrameStore.open_or_create(path, SHAPE, np.uint8, RECIPE)
    store.write(0, frame(0))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(frame_store, "open", full, raising=False)
        with pytest.raises(OutputError, match="No space left on device"):
            store.write(1, frame(1))
    assert store.missing() == [1, 2, 3]
    again = FrameStore.open_or_create(path, SHAPE, np.uint8, RECIPE)
    assert again.missing() == [1, 2, 3]
    np.testing.assert_array_equal(again[0], frame(0))


def test_discard_leaves_nothing(tmp_path):
    store = FrameStore.open_or_create(tmp_path / "clean.tif", SHAPE, np.uint8, RECIPE)
    store.write(0, frame(0))
    store.discard()
    assert list(tmp_path.iterdir()) == []
    np.testing.assert_array_equal(store[0], 0)
