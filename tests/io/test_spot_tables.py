from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
import tifffile
from scipy import ndimage as ndi

from napari_labdct.core.errors import OutputError, ScanError
from napari_labdct.core.recipes import recipe_beside
from napari_labdct.io import (
    coco,
    label_stacks,
    open_scan,
    spot_tables,
    training_pairs,
    write_frames,
)
from napari_labdct.review.export import export_stack, export_table, frame_names
from napari_labdct.review.review import REVIEW_DTYPE, Review, ReviewedFrames, with_status
from napari_labdct.scan.scan import Scan
from napari_labdct.spots.measurement import measure_stack

RNG = np.random.default_rng(8)
SHAPE = (4, 30, 37)
RECIPE = {"job": "spots", "settings": {"median_window": 3}}


def _labels():
    stack = np.zeros(SHAPE, np.int32)
    for frame in range(3):  # the last projection has no spots
        for spot, (r, c) in enumerate([(2, 3), (2, 6), (20, 30), (15, 8)]):
            stack[frame, r : r + 3 + frame, c : c + 3] = spot + 1 + frame
    return stack


LABELS = _labels()


@pytest.fixture
def reviewed():
    scan = Scan(RNG.poisson(100, SHAPE).astype(np.uint16), omega_deg=np.arange(4.0))
    review = Review(SHAPE)
    review.set_status([(0, 1), (1, 3)], 1)
    review.set_status([(2, 4)], 2)
    table = with_status(np.concatenate(list(measure_stack(scan, LABELS, 3))), review)
    return table, ReviewedFrames(LABELS, review)


def _same(a, b):
    assert a.dtype == b.dtype
    for name in a.dtype.names:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.mark.parametrize("name", ["s.csv", "s.h5", "s.json"])
def test_tables_come_back_as_they_went(tmp_path, reviewed, name):
    table, frames = reviewed
    path = export_table(tmp_path / name, table, RECIPE, frames)
    back, recipe = spot_tables.read_table(path, REVIEW_DTYPE)
    assert recipe == RECIPE
    _same(back, table)
    assert not list(tmp_path.glob("*.tmp"))


def test_parquet_round_trip_or_a_clear_sentence(tmp_path, reviewed):
    table, frames = reviewed
    path = tmp_path / "s.parquet"
    if importlib.util.find_spec("pyarrow") is None:
        with pytest.raises(OutputError, match="pip install pyarrow"):
            export_table(path, table, RECIPE, frames)
    else:
        export_table(path, table, RECIPE, frames)
        back, recipe = spot_tables.read_table(path, REVIEW_DTYPE)
        assert recipe == RECIPE
        _same(back, table)


@pytest.mark.parametrize("name", ["s.h5", "s.json"])
def test_label_images_come_back_as_they_went(tmp_path, reviewed, name):
    path = export_table(tmp_path / name, *reviewed[:1], RECIPE, reviewed[1])
    back = label_stacks.read_labels(path)
    assert back.shape == SHAPE
    np.testing.assert_array_equal(back[:], LABELS)


def test_only_the_spots_of_the_table_are_written(tmp_path, reviewed):
    table, frames = reviewed
    some = table[table["status"] == 1]
    back = label_stacks.read_labels(export_table(tmp_path / "s.h5", some, RECIPE, frames))
    assert np.unique(back[0]).tolist() == [0, 1]
    assert np.unique(back[1]).tolist() == [0, 3]
    assert not back[2].any()
    empty = export_table(tmp_path / "e.json", table[:0], RECIPE, frames)
    assert len(spot_tables.read_table(empty, REVIEW_DTYPE)[0]) == 0
    assert not label_stacks.read_labels(empty)[:].any()


def test_coco_run_lengths_are_column_by_column_and_boxes_are_x_y_w_h(tmp_path, reviewed):
    table, frames = reviewed
    path = export_table(tmp_path / "s.json", table, RECIPE, frames)
    written = json.loads(path.read_text())
    assert len(written["images"]) == 4
    note = written["annotations"][0]
    assert note["bbox"] == [3, 2, 3, 3]
    runs = note["segmentation"]["counts"]
    values = np.repeat(np.arange(len(runs)) % 2, runs).reshape(SHAPE[:0:-1]).T
    np.testing.assert_array_equal(values, LABELS[0] == 1)


def test_stacks_keep_order_size_orientation_and_recipe(tmp_path, reviewed):
    frames = reviewed[1]
    masks = export_stack(tmp_path / "m.tif", frames, RECIPE, binary=True, orientation=4)
    labels = export_stack(tmp_path / "l.tif", frames, RECIPE, binary=False)
    read = tifffile.imread(masks)
    assert read.dtype == np.uint8
    assert set(np.unique(read)) == {0, 255}
    assert read.shape == SHAPE
    assert not read[:, 2, 5].any()  # spots 1 and 2 touch; a line keeps them apart
    np.testing.assert_array_equal(tifffile.imread(labels), LABELS)
    np.testing.assert_array_equal(label_stacks.read_labels(labels)[:], LABELS)
    assert recipe_beside(masks) == RECIPE
    with tifffile.TiffFile(masks) as tif:
        assert len(tif.pages) == 4
        assert tif.pages[2].tags[274].value == 4


@pytest.mark.parametrize("longest", [12, 18, 74, 100])
def test_a_resized_stack_loses_no_spot(tmp_path, reviewed, longest):
    path = export_stack(tmp_path / "l.tif", reviewed[1], RECIPE, binary=False, longest_px=longest)
    read = tifffile.imread(path)
    assert max(read.shape[1:]) == longest
    for frame in range(4):
        assert set(np.unique(read[frame])) == set(np.unique(LABELS[frame]))


@pytest.mark.parametrize("longest", [18, 25, 30, 74])
def test_a_resized_binary_stack_keeps_touching_spots_apart(tmp_path, reviewed, longest):
    path = export_stack(tmp_path / "b.tif", reviewed[1], RECIPE, binary=True, longest_px=longest)
    for frame, mask in enumerate(tifffile.imread(path)):
        assert ndi.label(mask, np.ones((3, 3)))[1] == len(np.unique(LABELS[frame])) - 1


def test_too_many_labels_for_the_type_is_said(tmp_path):
    with pytest.raises(OutputError, match="more spots"):
        label_stacks.write_stack(tmp_path / "l.tif", [LABELS[0] + 300], RECIPE, dtype=np.uint8)


def test_training_pairs_come_back(tmp_path):
    frame = RNG.integers(0, 9000, SHAPE[1:]).astype(np.uint16)
    median = frame.astype(np.float32) / 2
    mask, ignore = LABELS[0] == 1, LABELS[0] == 2
    pairs = [(7, frame, median, mask, ignore), (12, frame, None, mask, ignore)]
    written = list(training_pairs.write_training_pairs(tmp_path / "p", pairs, RECIPE))
    assert written == [7, 12]
    first, second = training_pairs.read_training_pairs(tmp_path / "p")
    np.testing.assert_array_equal(first["frame"], frame)
    np.testing.assert_array_equal(first["median"], median)
    np.testing.assert_array_equal(first["mask"] == 255, mask)
    np.testing.assert_array_equal(second["ignore"] == 255, ignore)
    assert "median" not in second
    with pytest.raises(ScanError, match="no training pairs"):
        next(training_pairs.read_training_pairs(tmp_path))


@pytest.mark.parametrize("name", ["a.csv", "a.h5", "a.json", "a.xyz"])
def test_files_that_are_no_table_are_refused_with_a_sentence(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(ScanError, match="does not exist"):
        spot_tables.read_table(path, REVIEW_DTYPE)
    path.write_bytes(b"\x89no such thing\n")
    with pytest.raises(ScanError, match=r"a\."):
        spot_tables.read_table(path, REVIEW_DTYPE)
    if not name.endswith("csv"):
        with pytest.raises(ScanError, match=r"a\."):
            label_stacks.read_labels(path)


def test_a_csv_without_a_status_is_undecided_and_unwritable_places_are_said(tmp_path, reviewed):
    table, frames = reviewed
    path = spot_tables.write_csv(tmp_path / "s.csv", table, RECIPE)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line.rsplit(",", 1)[0] for line in lines) + "\n")
    assert not spot_tables.read_table(path, REVIEW_DTYPE)[0]["status"].any()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        export_table(tmp_path / "file" / "s.h5", table, RECIPE, frames)
    assert coco.SparseFrames(SHAPE, {})[1].shape == SHAPE[1:]


# pycocotools itself has not moved to NumPy 2 wholly
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_coco_is_what_trainers_read(tmp_path, reviewed):
    from pycocotools.coco import COCO

    table, frames = reviewed
    names = [f"iron_{i:04d}.tif" for i in range(SHAPE[0])]
    coco = COCO(export_table(tmp_path / "s.json", table, RECIPE, frames, names))
    assert [image["file_name"] for image in coco.loadImgs(coco.getImgIds())] == names
    for index in range(SHAPE[0]):
        notes = coco.loadAnns(coco.getAnnIds([index], iscrowd=False))
        here = table[table["frame"] == index]
        assert len(notes) == len(here)
        for note, spot in zip(notes, here):
            np.testing.assert_array_equal(coco.annToMask(note), frames[index] == spot["id"])


def test_a_folder_of_projections_gives_its_file_names(tmp_path):
    for name in ("a/p1.tif", "a/p2.tif", "b/p1.tif"):
        write_frames(tmp_path / name, [np.ones((9, 9), np.uint16)])
    both = open_scan([tmp_path / name for name in ("a/p1.tif", "a/p2.tif", "b/p1.tif")])
    assert frame_names(both) == ["a/p1.tif", "a/p2.tif", "b/p1.tif"]
    assert frame_names(open_scan(tmp_path / "a")) == ["p1.tif", "p2.tif"]
    assert frame_names(Scan(np.ones((2, 9, 9)))) is None


@pytest.mark.parametrize(
    "change",
    [
        {"counts": [0, 2**40]}, {"counts": [1111, 5]}, {"counts": [1, -1, 3]}, {"counts": "abc"},
        {"height": 10**9}, {"height": "x"}, {"id": -1}, {"id": 2**40}, {"image_id": 99},
        {"image_id": None}, {"images": []}, {"images": [5]}, {"annotations": [5]},
    ],
    ids=str,
)  # fmt: skip
def test_impossible_coco_is_refused_in_one_sentence(tmp_path, change):
    note = {"image_id": 0, "segmentation": {"counts": [0, 4, 1106]}, "labdct": {"id": 1}}
    image = {"id": 0, "file_name": "a", "height": 30, "width": 37}
    coco = {"info": {"recipe": {}}, "images": [image], "annotations": [note]}
    for name, value in change.items():
        for part in (coco, note, image, note["segmentation"], note["labdct"]):
            if name in part and not (part is image and name == "id"):
                part[name] = value
                break
    (tmp_path / "c.json").write_text(json.dumps(coco))
    for read in (label_stacks.read_labels, lambda p: spot_tables.read_table(p, np.dtype("i4"))):
        with pytest.raises(ScanError, match=r"c\.json is not the JSON") as caught:
            read(tmp_path / "c.json")
        assert len(str(caught.value)) < 300


def test_a_json_in_another_encoding_is_refused_shortly(tmp_path):
    (tmp_path / "c.json").write_bytes(b'"' + b"x" * 9000 + b'\xfc"')
    with pytest.raises(ScanError, match="it is not UTF-8") as caught:
        label_stacks.read_labels(tmp_path / "c.json")
    assert len(str(caught.value)) < 300
