"""Evaluation from recipe to table, and the command."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_labdct import cli
from napari_labdct.core.errors import ScanError
from napari_labdct.core.jobs import Progress
from napari_labdct.evaluation import benchmark as quality
from napari_labdct.evaluation import gallery as verdicts
from napari_labdct.evaluation.benchmark import Method, changed_inputs, evaluate, tuned_peers
from napari_labdct.evaluation.comparison import Segmentation
from napari_labdct.evaluation.phantoms import FAR, NEAR, ScanRecipe, cached_scan
from napari_labdct.io import write_frames
from napari_labdct.scan.scan import Scan

SMALL = ScanRecipe(
    "small",
    NEAR,
    {
        "sample": "cylinder", "diameter_um": 80.0, "height_um": 100.0, "mean_grain_um": 25.0,
        "pixel_um": 13.45, "rows": 508, "cols": 508, "psf_px": 0.9, "beam_stop_width_mm": 2.0,
        "beam_stop_height_mm": 2.0,
    },
    seed=5,
    level=400.0,
    frames=7,
    scored=(1, 4),
    windows=(3,),
)  # fmt: skip


def last(steps):
    *progress, result = steps
    assert all(isinstance(step, Progress) for step in progress)
    assert progress[-1].done == progress[-1].total
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    cached_scan(SMALL, folder)
    return folder


@pytest.fixture
def one_scan(monkeypatch):
    """The command and the peers see one small scan of each kind."""
    monkeypatch.setattr(quality, "judging_recipes", lambda: (SMALL,))
    monkeypatch.setattr(quality, "quick_recipes", lambda: (SMALL,))
    monkeypatch.setattr(quality, "window_recipes", lambda: (SMALL,))
    twin = replace(SMALL, seed=6)
    monkeypatch.setattr(quality, "tuning_twin", lambda recipe: twin)


def above(sigma: float, name: str = "threshold") -> Method:
    return Method(name, lambda p: (p.in_noise() > sigma) & ~p.beam_stop, {"sigma": sigma})


def test_better_methods_have_better_numbers(folder, tmp_path):
    methods = [above(4), above(60, "blind")]
    results = last(evaluate(methods, [SMALL], folder))
    good, blind = (results.total(name, NEAR).numbers() for name in ("threshold", "blind"))
    assert good["f1"] > 0.5 > blind["f1"]
    assert good["frames"] == 2
    assert good["true_spots"] == blind["true_spots"] > 5
    assert results.total("threshold", FAR).score.frames == 0
    assert "threshold" in results.table()
    quarter = {((g, s, 0.25), m): tally for ((g, s, _), m), tally in results.tallies.items()}
    both = quality.Results(results.tallies | quarter).table()
    assert both.startswith(results.table().rstrip())
    assert f"{NEAR} x 0.25" in both

    paths = results.write(tmp_path)
    values = json.loads(paths[0].read_text())
    assert values["groups"][NEAR]["threshold"]["f1"] == pytest.approx(good["f1"])
    assert values["methods"]["blind"] == {"sigma": 60}
    with paths[1].open() as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == ["threshold", "blind"]
    assert float(rows[0]["f1"]) == pytest.approx(good["f1"], rel=1e-4)


def test_peers_are_tuned_once_and_their_scores_kept(folder, one_scan, monkeypatch):
    peers = last(tuned_peers([SMALL], folder, ["cc"], trials=4))
    (cc,) = peers[SMALL.key]
    first = last(evaluate([cc], [SMALL], folder)).total("cc").numbers()
    calls = []
    monkeypatch.setattr(quality, "tune", lambda *a: calls.append(a))
    monkeypatch.setattr(quality, "score", lambda *a: calls.append(a))
    (again,) = last(tuned_peers([SMALL], folder, ["cc"], trials=4))[SMALL.key]
    assert again.about == cc.about
    np.testing.assert_equal(last(evaluate([again], [SMALL], folder)).total("cc").numbers(), first)
    assert not calls
    with pytest.raises(TypeError):  # another number of trials is another search
        last(tuned_peers([SMALL], folder, ["cc"], trials=5))


def test_what_is_invariant_loses_nothing_under_changed_inputs(folder):
    scan = cached_scan(SMALL, folder)
    tallies = changed_inputs(above(5), scan)
    assert {"gain x 0.25", "gain x 20", "offset + 1000", "8 bit", "median of 3"} < set(tallies)
    f1 = {name: tally.score.f1 for name, tally in tallies.items()}
    assert f1["gain x 4"] == pytest.approx(f1["unchanged"], abs=0.03)
    counts = Method("counts", lambda p: p.residual(False, False) > 100)
    lost = {name: t.score.f1 for name, t in changed_inputs(counts, scan).items()}
    assert lost["gain x 20"] < lost["unchanged"] - 0.1


def test_masks_are_scored_on_any_scan_with_a_truth(folder):
    made = cached_scan(SMALL, folder)
    frames = np.stack([made.frames[0], made.frames[1], np.rint(made.median(0)).astype("u2")])
    labels = np.concatenate([made.labels, np.zeros_like(made.labels[:1])])
    scan, truth = Scan(frames, name="mine"), Segmentation("truth", labels)
    results = last(quality.evaluate_scan([Segmentation("perfect", labels), above(4)], scan, truth))
    perfect = results.total("perfect").numbers()
    assert perfect["f1"] == perfect["precision"] == 1
    assert perfect["pixel_iou"] == 1
    assert results.total("threshold").score.f1 < 1
    with pytest.raises(ScanError, match="3 or more"):
        last(quality.evaluate_scan([], Scan(frames[:2]), Segmentation("t", labels[:2])))
    with pytest.raises(ScanError, match="scan has 3"):
        last(quality.evaluate_scan([Segmentation("short", labels[:2])], scan, truth))


def test_pictures_show_best_typical_and_worst(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(verdicts, "ENOUGH_SPOTS", 1)
    methods = [above(4), above(8, "strict")]
    windows = verdicts.windows(methods, SMALL, folder)
    chosen = verdicts.picked(windows)
    assert list(chosen) == ["best", "typical", "worst"]
    f1 = [window.f1[0] for window in chosen.values()]
    assert f1[0] >= f1[1] >= f1[2]
    path = verdicts.write_pictures(lambda recipe: methods, NEAR, [SMALL], folder, tmp_path)
    assert path.name == "verdicts_near_field.png"
    assert path.stat().st_size > 10_000


def test_the_command_scores_a_model_on_the_test_scans(folder, one_scan, tmp_path, capsys):
    monkey = ["evaluate", "compact", "--quick", "--cache", str(folder), "-o", str(tmp_path)]
    assert cli.main(monkey) == 0
    assert "compact" in capsys.readouterr().out
    values = json.loads((tmp_path / "quality.json").read_text())
    assert values["groups"][NEAR]["compact"]["f1"] > 0.5
    assert values["methods"]["compact"]["threshold"] > 0


def test_the_command_scores_masks_on_a_scan(folder, tmp_path, capsys):
    made = cached_scan(SMALL, folder)
    labels = made.labels[[0, 1, 0]].astype(np.uint16)
    for name, stack in (("scan", made.frames[[0, 1, 0]]), ("truth", labels), ("mine", labels)):
        write_frames(tmp_path / f"{name}.tif", stack)
    scan, truth, mine = (str(tmp_path / f"{n}.tif") for n in ("scan", "truth", "mine"))
    assert cli.main(["evaluate", mine, "--scan", scan, "--truth", truth]) == 0
    assert "1.000" in capsys.readouterr().out
    assert cli.main(["evaluate", mine, "--scan", scan]) == 1
    assert "--truth" in capsys.readouterr().err
    assert cli.main(["evaluate", "compact", "--pictures"]) == 1
    assert "--output" in capsys.readouterr().err


def test_a_network_gets_the_binning_of_the_scan_in_every_way_it_is_judged(folder, monkeypatch):
    binnings = []

    class Blank:
        name, sha256, threshold, block_px = "blank", "0" * 64, 128, 32

        def __call__(self, frame, median, binning, looks):
            binnings.append(binning)
            return np.zeros(frame.shape, np.float32)

    monkeypatch.setattr("napari_labdct.networks.model.Model.load", lambda *_: Blank())
    method, scan = quality.network("blank"), cached_scan(SMALL, folder)
    truth = Segmentation("truth", np.repeat(scan.labels, 2, axis=0))
    stack = Scan(np.repeat(scan.frames, 2, axis=0))
    for width, binning in ((7.0, 1), (40.0, 2)):
        monkeypatch.setattr(quality, "spot_width", lambda _, w=width: w)
        monkeypatch.setattr(quality, "scan_spot_width", lambda _, w=width: w)
        last(evaluate([method], [SMALL], folder))
        changed_inputs(method, scan)
        last(quality.evaluate_scan([method], stack, truth))
        assert set(binnings) == {binning}
        binnings.clear()
