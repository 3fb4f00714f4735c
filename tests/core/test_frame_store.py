from __future__ import annotations

import errno
import json

import numpy as np
import pytest
import tifffile

from napari_labdct.core import frame_store
from napari_labdct.core.errors import InputsChangedError, OutputError
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


def _whole(path):
    store = FrameStore.open_or_create(path, SHAPE, np.uint8, RECIPE)
    for i in range(4):
        store.write(i, frame(i))
    return store


def test_a_store_killed_before_it_got_its_name_gets_it_the_next_time(tmp_path):
    path, part = tmp_path / "clean.tif", tmp_path / "clean.part.tif"
    _whole(path)
    path.rename(part)  # as if killed between the last sidecar and the renaming
    again = FrameStore.open_or_create(path, SHAPE, np.uint8, RECIPE)
    assert again.complete
    assert path.exists()
    assert not part.exists()
    np.testing.assert_array_equal(again[3], frame(3))


@pytest.mark.parametrize("done", [2, 4])
def test_a_foreign_file_beside_an_unfinished_result_is_not_replaced(done, tmp_path):
    path = tmp_path / "clean.tif"
    store = FrameStore.open_or_create(path, SHAPE, np.uint8, RECIPE)
    for i in range(done):
        store.write(i, frame(i))
    if done == 4:
        path.rename(tmp_path / "clean.part.tif")
    path.write_bytes(b"of somebody else")
    with pytest.raises(OutputError, match="already holds another result"):
        FrameStore.open_or_create(path, SHAPE, np.uint8, RECIPE)
    assert path.read_bytes() == b"of somebody else"


def test_a_result_that_another_program_wrote_over_is_refused(tmp_path):
    path = tmp_path / "clean.tif"
    _whole(path)
    tifffile.imwrite(path, np.zeros((4, 5, 7), np.uint8), photometric="minisblack")
    with pytest.raises(OutputError, match="changed or cut short"):
        FrameStore.open_or_create(path, SHAPE, np.uint8, RECIPE)


def test_changed_inputs_are_never_mixed_with_what_was_made_before(tmp_path):
    path, source = tmp_path / "clean.tif", tmp_path / "frames.tif"
    source.write_bytes(b"before")
    opened = FrameStore.open_or_create(path, SHAPE, np.uint8, RECIPE, inputs=[source])
    opened.write(1, frame(1))
    same = FrameStore.open_or_create(path, SHAPE, np.uint8, RECIPE, inputs=[source])
    assert same.missing() == [0, 2, 3]
    source.write_bytes(b"longer than before")
    with pytest.raises(InputsChangedError, match="begin anew with --overwrite"):
        FrameStore.open_or_create(path, SHAPE, np.uint8, RECIPE, inputs=[source])
    anew = FrameStore.open_or_create(path, SHAPE, np.uint8, RECIPE, inputs=[source], overwrite=True)
    assert anew.missing() == [0, 1, 2, 3]


def test_stacks_in_memory_are_known_by_their_pixels(tmp_path):
    path, pixels = tmp_path / "clean.tif", np.zeros((4, 6, 7), np.uint16)
    scan = Scan(pixels)
    FrameStore.open_or_create(path, SHAPE, np.uint8, RECIPE, inputs=[scan]).write(1, frame(1))
    FrameStore.open_or_create(path, SHAPE, np.uint8, RECIPE, inputs=[scan])
    pixels[1, 2, 3] = 1
    with pytest.raises(InputsChangedError):
        FrameStore.open_or_create(path, SHAPE, np.uint8, RECIPE, inputs=[scan])


def test_results_of_versions_that_did_not_keep_their_inputs_are_gone_on_with(tmp_path):
    path, side = tmp_path / "clean.tif", tmp_path / "clean.tif.json"
    FrameStore.open_or_create(path, SHAPE, np.uint8, RECIPE).write(1, frame(1))
    state = json.loads(side.read_text())
    del state["inputs"]
    side.write_text(json.dumps(state))
    again = FrameStore.open_or_create(path, SHAPE, np.uint8, RECIPE, inputs=[side])
    assert again.missing() == [0, 2, 3]


@pytest.mark.parametrize("key", ["hash", "shape", "dtype", "done", "recipe"])
@pytest.mark.parametrize("value", [None, [], {}, 7, "zz"])
def test_a_damaged_sidecar_is_another_result(key, value, tmp_path):
    path, side = tmp_path / "clean.tif", tmp_path / "clean.tif.json"
    FrameStore.open_or_create(path, SHAPE, np.uint8, RECIPE).write(1, frame(1))
    side.write_text(json.dumps({**json.loads(side.read_text()), key: value}))
    with pytest.raises(OutputError, match="already holds another result"):
        FrameStore.open_or_create(path, SHAPE, np.uint8, RECIPE)
