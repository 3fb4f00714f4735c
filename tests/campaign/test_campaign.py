"""Recipes over scans: nothing twice, nothing lost, and one failed scan stops no other."""

from __future__ import annotations

import multiprocessing
import os
import signal

import numpy as np
import pytest
import tifffile

from napari_labdct import cli
from napari_labdct.campaign import Campaign, Recipe
from napari_labdct.campaign.campaign import Unit, work
from napari_labdct.campaign.steps import DONE, FAILED, TO_DO, plan
from napari_labdct.core.errors import SettingsError

STEPS = [
    {"step": "routine", "settings": {"median_window": 3}},
    {"step": "measure", "settings": {"median_window": 3}},
]


@pytest.fixture
def scans(tmp_path):
    """Three small scans."""
    for number in range(3):
        folder = tmp_path / "scans" / f"s{number}"
        folder.mkdir(parents=True)
        frames = np.random.default_rng(number).poisson(200, (4, 48, 48)).astype(np.uint16)
        for k in range(4):
            frames[k, 10 + 5 * k : 15 + 5 * k, 20:25] += 400
        tifffile.imwrite(folder / "p.tif", frames, photometric="minisblack")
        (folder / "scan.yaml").write_text("frames: p.tif\nomega_deg: {start: 0, step: 3}\n")
    return tmp_path / "scans"


def results(folder) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".tif", ".csv")
    }


def campaign(scans, output, steps=STEPS) -> Campaign:
    return Campaign(Recipe.of(steps), str(scans / "*" / "scan.yaml"), output)


def test_a_run_is_not_done_twice_and_a_changed_setting_redoes_what_depends_on_it(
    scans, tmp_path, capsys
):
    source, out = str(scans / "s0" / "scan.yaml"), tmp_path / "one"
    path = Recipe.of(STEPS).write(tmp_path / "r.yaml")
    words = ["run", str(path), source, "-o", str(out)]
    assert cli.main(words) == 0
    first = results(out)
    assert set(first) == {"routine.tif", "measure.csv"}
    assert cli.main(words) == 0
    assert capsys.readouterr().err.count("done before") == 2
    changed = Recipe.of([STEPS[0], {"step": "measure", "settings": {"where": "snr > 1000"}}])
    assert [one.state for one in plan(changed, source, out)] == [DONE, TO_DO]
    changed = Recipe.of([{"step": "routine", "settings": {"sigma_px": 1.5}}, STEPS[1]])
    assert [one.state for one in plan(changed, source, out)] == [TO_DO, TO_DO]
    changed.write(path)
    assert cli.main(words) == 0
    assert results(out)["routine.tif"] != first["routine.tif"]


def test_results_of_somebody_else_stay(scans, tmp_path, capsys):
    out = tmp_path / "one"
    out.mkdir()
    (out / "routine.tif").write_bytes(b"mine")
    path = Recipe.of(STEPS).write(tmp_path / "r.yaml")
    words = ["run", str(path), str(scans / "s0"), "-o", str(out)]
    assert cli.main(words) == 1
    assert cli.main(words) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert (out / "routine.tif").read_bytes() == b"mine"
    assert cli.main([*words, "--overwrite"]) == 0


def test_a_worker_that_is_killed_loses_nothing(scans, tmp_path):
    alone = campaign(scans, tmp_path / "alone")
    assert not [fault for *_, fault in alone.run() if fault]
    shared = campaign(scans, tmp_path / "shared")
    ended = []
    for one in shared.run(workers=2):
        ended.append(one)
        if len(ended) == 1:
            os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
    assert not [fault for *_, fault in ended if fault]
    assert sorted(ended) == sorted(
        {(s, t, "") for s in alone.scans for t in ("routine", "measure")}
    )
    assert results(tmp_path / "shared") == results(tmp_path / "alone")


def test_a_failed_scan_stops_no_other_and_is_tried_again(scans, tmp_path):
    (scans / "s1" / "p.tif").rename(tmp_path / "away.tif")
    (scans / "s1" / "p.tif").write_bytes(b"no TIFF")
    batch = campaign(scans, tmp_path / "out")
    faults = {scan: fault for scan, _, fault in batch.run()}
    assert [bool(faults[name]) for name in ("s0", "s1", "s2")] == [False, True, False]
    (tmp_path / "away.tif").replace(scans / "s1" / "p.tif")
    assert {scan for scan, *_ in batch.run()} == {"s1"}
    assert {state for _, _, state, _ in batch.state()} == {DONE}
    assert batch.collect(tmp_path / "all.csv") == 3
    lines = (tmp_path / "all.csv").read_text().splitlines()
    assert lines[0].startswith("scan,frame,id,")
    assert {line.split(",")[0] for line in lines[1:]} == {"s0", "s1", "s2"}


def test_a_failed_step_is_recorded_logged_and_retried(scans, tmp_path):
    out = tmp_path / "out"
    (out / "s2").mkdir(parents=True)
    (out / "s2" / "routine.tif").write_bytes(b"mine")
    batch = campaign(scans, out)
    assert sum(bool(fault) for *_, fault in batch.run()) == 1
    states = {(scan, step): state for scan, step, state, _ in batch.state()}
    assert states["s2", "routine"] == FAILED
    assert states["s2", "measure"] == TO_DO
    assert "already holds another result" in (out / "logs" / "s2.log").read_text()
    (out / "s2" / "routine.tif").unlink()
    assert {scan for scan, _, fault in batch.run(only_failed=True) if not fault} == {"s2"}


def test_a_worker_of_another_version_does_not_begin(scans, tmp_path):
    unit = Unit(
        Recipe.of(STEPS).to_dict(), 0, str(scans / "s0"), str(tmp_path / "o"), str(tmp_path / "l"),
        version="0.0.1",
    )  # fmt: skip
    assert "install the same version" in work(unit)
    assert not (tmp_path / "o").exists()


def test_patterns_without_scans_and_equal_names_are_said(scans, tmp_path):
    with pytest.raises(SettingsError, match="check the pattern"):
        Campaign(Recipe.of(STEPS), str(scans / "*.none"), tmp_path)
    twin = tmp_path / "more" / "scans" / "s0"
    twin.mkdir(parents=True)
    (twin / "scan.yaml").write_text("frames: p.tif\n")
    (tmp_path / "again" / "scans" / "s0").mkdir(parents=True)
    (tmp_path / "again" / "scans" / "s0" / "scan.yaml").write_text("frames: p.tif\n")
    with pytest.raises(SettingsError, match="rename a folder"):
        Campaign(Recipe.of(STEPS), str(tmp_path / "**" / "scan.yaml"), tmp_path / "o")
