"""Two stacks compared frame by frame: the numbers on cases counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from napari_labdct.core.errors import ScanError
from napari_labdct.core.recipes import recipe_beside
from napari_labdct.evaluation.comparison import (
    Comparison,
    Segmentation,
    compare,
    fit,
    label_snr,
    open_segmentation,
    read_numbers,
)
from napari_labdct.io import write_frames
from napari_labdct.scan.scan import Scan, angles
from napari_labdct.spots.matching import (
    BOTH,
    NEITHER,
    ONLY_A,
    ONLY_B,
    agreement,
    residual,
    unexplained,
)

LEVEL, HEIGHT = 100, 60


def paint(*spots, shape=(64, 64)):
    mask = np.zeros(shape, bool)
    for r, c, size in spots:
        mask[r : r + size, c : c + size] = True
    return mask


@pytest.fixture
def case():
    """Five projections; in each both have one spot, A and B one of their own."""
    random = np.random.default_rng(2)
    a, b, truth, frames = [], [], [], []
    for k in range(5):
        a.append(paint((5 + 8 * k, 5, 4), (5 + 8 * k, 30, 4)))
        b.append(paint((5 + 8 * k, 5, 4), (5 + 8 * k, 50, 3)))
        truth.append(a[-1] | b[-1])
        frame = random.normal(LEVEL, 2, (64, 64)) + HEIGHT * truth[-1]
        frames.append(frame.astype(np.float32))
    scan = Scan(np.array(frames), omega_deg=angles(0, 5, 5))
    made = [Segmentation(n, np.array(m, np.uint8) * 255) for n, m in zip("abt", (a, b, truth))]
    return scan, *made


def collect(*case, **options):
    result = Comparison()
    for one in compare(*case, **options):
        result.add(one)
    return result


def test_the_numbers_are_those_counted_by_hand(case):
    result = collect(*case)
    numbers = result.numbers()
    assert [numbers[k] for k in ("frames", "spots_a", "spots_b")] == [5, 10, 10]
    assert [numbers[k] for k in ("both", "only_a", "only_b")] == [5, 5, 5]
    assert numbers["pixel_iou"] == pytest.approx(16 / (16 + 16 + 9))
    assert numbers["centroid_error_px"] == 0
    assert numbers["median_area_px_a"] == 16
    # A leaves B's own spot of 9 px a projection, B leaves A's of 16
    assert numbers["unexplained_a"] == pytest.approx(45, abs=12)  # and a few of noise
    assert numbers["unexplained_b"] == pytest.approx(80, abs=12)
    assert (numbers["recall_a_truth"], numbers["precision_a_truth"]) == (2 / 3, 1)
    table = result.frames
    assert table["omega_deg"].tolist() == [0, 5, 10, 15, 20]
    assert (table["both"] == 1).all()
    spots = result.spots("a")
    assert spots["in_both"].sum() == 5
    assert spots["frame"].tolist() == sorted([0, 1, 2, 3, 4] * 2)


def test_recall_by_snr_counts_every_spot_once(case):
    result = collect(*case)
    for which in "ab":
        table = result.by_snr(which)
        assert (table["truth"].sum(), table["found"].sum()) == (15, 10)
        assert (table["spots"].sum(), table["true"].sum()) == (10, 10)
        strong = table[table["snr_from"] >= 10]
        assert strong["truth"].sum() == 15  # 60 counts over a noise of 2
        assert np.nanmax(strong["f1"]) == pytest.approx(0.8)


def test_projections_may_come_in_any_order_and_again(case):
    result = collect(*case, frames=[3, 1])
    for one in compare(*case, frames=[1]):
        result.add(one)
    assert result.frames["frame"].tolist() == [1, 3]
    assert result.score.frames == 2


def test_worst_projection_first(case):
    scan, a, b, _ = case
    masks = np.array(a.masks)
    masks[2] = 0
    result = collect(scan, Segmentation("a", masks), b)
    assert result.worst_first("a")[0] == 2


def test_csv_holds_the_same_numbers(case, tmp_path):
    result = collect(*case)
    written = result.write_csv(tmp_path)
    assert {p.name for p in written} == {
        "summary.csv", "frames.csv", "spots_a.csv", "spots_b.csv", "snr_a.csv", "snr_b.csv",
    }  # fmt: skip
    again = read_numbers(tmp_path / "summary.csv")
    assert again == pytest.approx(result.numbers(), rel=1e-5, nan_ok=True)
    assert (tmp_path / "frames.csv").read_text().count("\n") == 6


def test_empty_masks_give_numbers_too(case):
    scan, a, _, _ = case
    nothing = Segmentation("none", np.zeros_like(a.masks))
    numbers = collect(scan, nothing, nothing).numbers()
    assert (numbers["spots_a"], numbers["both"]) == (0, 0)
    assert np.isnan(numbers["agreement_f1"])
    assert np.isnan(numbers["median_snr_a"])


def test_a_single_projection_has_no_median_and_still_compares(case):
    scan, a, b, _ = case
    one = Scan(scan.frames[2:3])
    numbers = collect(one, Segmentation("a", a.masks[2:3]), Segmentation("b", b.masks[2:3]))
    assert numbers.score.found == 1
    assert np.isnan(numbers.frames["omega_deg"]).all()


def test_masks_of_another_scan_are_refused(case):
    scan, a, b, _ = case
    with pytest.raises(ScanError, match="5 projections"):
        list(compare(scan, Segmentation("short", a.masks[:3]), b))


def test_coarser_masks_are_enlarged():
    small = np.array([[1, 2], [3, 4]])
    assert fit(small, (4, 6)).tolist() == [
        [1, 1, 1, 2, 2, 2], [1, 1, 1, 2, 2, 2], [3, 3, 3, 4, 4, 4], [3, 3, 3, 4, 4, 4],
    ]  # fmt: skip
    assert fit(small, (2, 2)) is small
    segmentation = Segmentation("half", np.eye(4, dtype=np.uint8)[None])
    assert segmentation.mask(0, (8, 8)).sum() == 16


def test_touching_true_spots_stay_apart_in_label_images():
    labels = np.zeros((20, 20), np.int32)
    labels[4:8, 4:8], labels[4:8, 8:12] = 7, 3
    frame = np.where(labels == 7, 30.0, np.where(labels == 3, 10.0, 0.0))
    ground, noise = np.zeros((20, 20)), np.full((20, 20), 2.0)
    assert label_snr(labels, frame, ground, noise).tolist() == [5, 15]
    assert label_snr(labels > 0, frame, ground, noise).tolist() == [10]


def test_an_imported_stack_has_no_recipe(tmp_path):
    frames = [paint((3, 3, 4)).astype(np.uint8) for _ in range(3)]
    path = write_frames(tmp_path / "theirs.tif", frames)
    segmentation = open_segmentation(path)
    assert (segmentation.name, segmentation.recipe) == ("theirs", {})
    assert segmentation.mask(1, (64, 64)).sum() == 16
    (tmp_path / "theirs.tif.json").write_text("[1]")
    assert recipe_beside(path) == {}


def test_agreement_and_residual():
    a, b = np.array([[1, 1, 0, 0]]), np.array([[255, 0, 255, 0]], np.uint8)
    assert agreement(a, b).tolist() == [[BOTH, ONLY_A, ONLY_B, NEITHER]]
    frame = np.array([[5, 6, 7, 8]], np.uint16)
    assert residual(frame, a).tolist() == [[0, 0, 7, 8]]
    assert residual(frame, b, np.full((1, 4), 4)).tolist() == [[0, 2, 0, 4]]


def test_unexplained_pixels_are_what_the_mask_misses():
    random = np.random.default_rng(0)
    frame = random.normal(100, 4, (64, 64)).astype(np.float32)
    spots = paint((10, 10, 3), (40, 40, 3))
    frame += 80 * spots
    left = unexplained(frame, paint((10, 10, 3)))
    assert (left == paint((40, 40, 3))).all()
    assert not unexplained(frame, paint((10, 10, 3)), exclude=paint((40, 40, 3))).any()
