"""Scans through a recipe: what is done stays, what depends on a change is redone."""

from __future__ import annotations

import csv
import json
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_labdct.campaign import Campaign, runner
from napari_labdct.campaign.recipe_file import parse
from napari_labdct.campaign.runner import DONE, FAILED, STOPPED, WAITING, plan, run_scan, status
from napari_labdct.cli import main
from napari_labdct.core.errors import OutputError, ScanError, SettingsError


def recipe(**settings):
    """Three steps, of which the second depends on the first."""
    return parse(
        {
            "labdct_recipe": 1,
            "steps": [
                {"denoise": settings.get("denoise", {})},
                {"track": settings.get("track", {})},
                {"routine": settings.get("routine", {})},
            ],
        }
    )


@pytest.fixture
def scans(tmp_path) -> list[Path]:
    """Three folders of projections."""
    made = []
    for name in ("al", "fe", "ti"):
        folder = tmp_path / "scans" / name
        folder.mkdir(parents=True)
        rng = np.random.default_rng(len(name))
        frames = rng.poisson(200, (5, 32, 32)).astype(np.uint16)
        tifffile.imwrite(folder / "p.tif", frames, photometric="minisblack")
        (folder / "scan.yaml").write_text("pixel_um: 3.36\nomega_deg: {start: 0, step: 2}\n")
        made.append(folder / "scan.yaml")
    return made


@pytest.fixture
def calls(monkeypatch) -> list[list[str]]:
    """Commands are noted and leave their outputs, in place of being run."""
    made: list[list[str]] = []

    def call(words, log, threads):
        made.append(words)
        if log is not None:
            with log.open("a") as file:
                file.write("labdct: the disk is full\n" if "bad" in words[1] else "well\n")
        if "bad" in words[1]:
            return 1
        for flag, name in pairwise(words):
            if flag in ("--output", "--write-mask"):
                Path(name).write_bytes(b"made")
        return 0

    monkeypatch.setattr(runner, "_call", call)
    return made


def run(a_recipe, scan, folder) -> dict[str, str]:
    return {unit.step.output: state for unit, state in run_scan(a_recipe, scan, folder)}


def test_what_is_done_is_not_done_again(scans, tmp_path, calls):
    everything = {"denoised": DONE, "tracked": DONE, "routine": DONE}
    assert run(recipe(), scans[0], tmp_path / "out") == everything
    assert [words[0] for words in calls] == ["denoise", "track", "routine"]
    assert run(recipe(), scans[0], tmp_path / "out") == everything
    assert len(calls) == 3


def test_a_change_redoes_what_depends_on_it_and_nothing_else(scans, tmp_path, calls):
    run(recipe(), scans[0], tmp_path / "out")
    run(recipe(track={"faintest": 3}), scans[0], tmp_path / "out")
    assert [words[0] for words in calls[3:]] == ["track"]
    run(recipe(denoise={"augmentations": 2}, track={"faintest": 3}), scans[0], tmp_path / "out")
    assert [words[0] for words in calls[4:]] == ["denoise", "track"]
    assert all("--overwrite" in words for words in calls[3:])
    assert not any("--overwrite" in words for words in calls[:3])


def test_new_projections_redo_everything(scans, tmp_path, calls):
    run(recipe(), scans[0], tmp_path / "out")
    frames = np.full((5, 32, 32), 7, np.uint16)
    tifffile.imwrite(scans[0].parent / "p.tif", frames, photometric="minisblack")
    assert {status(unit) for unit in plan(recipe(), scans[0], tmp_path / "out")} == {WAITING}
    run(recipe(), scans[0], tmp_path / "out")
    assert len(calls) == 6


def test_a_result_that_is_gone_is_made_again(scans, tmp_path, calls):
    run(recipe(), scans[0], tmp_path / "out")
    (tmp_path / "out" / "tracked_mask.tif").unlink()
    run(recipe(), scans[0], tmp_path / "out")
    assert [words[0] for words in calls[3:]] == ["track"]


def test_a_killed_step_goes_on_and_still_may_replace_what_was_ours(scans, tmp_path, monkeypatch):
    folder, seen = tmp_path / "out", []

    def killed(words, log, threads):
        seen.append(words)
        raise SystemError

    for kept, changed in ((False, recipe()), (True, recipe(denoise={"augmentations": 2}))):
        if kept:  # as if the first had ended
            entry = json.loads((folder / "run.json").read_text())
            entry["steps"]["denoised"]["state"] = DONE
            (folder / "run.json").write_text(json.dumps(entry))
        monkeypatch.setattr(runner, "_call", killed)
        for _ in range(2):
            with pytest.raises(SystemError):
                run(changed, scans[0], folder)
            assert status(plan(changed, scans[0], folder)[0]) == STOPPED
            assert ("--overwrite" in seen[-1]) == kept


def test_one_scan_that_fails_stops_no_other(scans, tmp_path, calls):
    bad = tmp_path / "scans" / "bad"
    scans[0].parent.rename(bad)
    campaign = Campaign(recipe(), [bad / "scan.yaml", *scans[1:]], tmp_path / "results")
    ended = {(Path(u.folder).name, u.step.output): s for u, s in campaign.run(workers=2, threads=1)}
    assert ended[("bad", "denoised")] == FAILED
    assert ("bad", "tracked") not in ended
    states = {state.name: state for state in campaign.states()}
    assert states["bad"].problem == "the disk is full"
    assert states["fe"].state == states["ti"].state == DONE

    before = len(calls)
    assert list(campaign.run(only_failed=True))
    assert {words[1] for words in calls[before:]} == {str(bad / "scan.yaml")}


def test_a_scan_that_cannot_be_opened_is_a_line_of_the_table(scans, tmp_path, calls):
    scans[1].write_text("pixel_um: [")
    campaign = Campaign(recipe(), scans, tmp_path / "results")
    list(campaign.run())
    with campaign.collect(tmp_path / "all.csv").open() as file:
        rows = {row["scan"]: row for row in csv.DictReader(file)}
    assert rows["al"]["state"] == DONE
    assert float(rows["al"]["denoised_s"]) >= 0
    assert rows["fe"]["state"] == FAILED
    assert "cannot be read as YAML" in rows["fe"]["problem"]


def test_any_executor_carries_it(scans, tmp_path, calls):
    campaign = Campaign(recipe(), scans, tmp_path / "results")
    with ThreadPoolExecutor(3) as executor:
        assert {state for _, state in campaign.run(executor)} == {DONE}
    assert {state.state for state in campaign.states()} == {DONE}


def test_workers_of_another_version_are_refused_before_any_work(
    scans, tmp_path, calls, monkeypatch
):
    monkeypatch.setattr("napari_labdct.campaign.campaign.version", lambda: "0.0.1")
    with pytest.raises(SettingsError, match=r"runs napari-labdct 0\.0\.1"):
        list(Campaign(recipe(), scans, tmp_path / "results").run())
    assert calls == []


def test_scans_of_one_name_and_no_scans_are_refused(scans, tmp_path):
    with pytest.raises(SettingsError, match="Two scans are called al"):
        Campaign(recipe(), [scans[0], scans[0]], tmp_path)
    with pytest.raises(SettingsError, match="There is no scan"):
        Campaign(recipe(), [], tmp_path)
    with pytest.raises(ScanError):
        plan(recipe(), tmp_path / "nowhere", tmp_path)


def test_a_folder_somebody_works_in_is_left_alone(scans, tmp_path, calls, monkeypatch):
    (tmp_path / "out").mkdir()
    unit = plan(recipe(), scans[0], tmp_path / "out")[0]

    def busy(path, said=""):
        raise OutputError(f"{said} is written by another process now.")

    monkeypatch.setattr(runner, "alone", busy)
    with pytest.raises(OutputError, match="another process"):
        runner.run_unit(unit)
    assert calls == []


def test_the_commands_run_a_recipe_for_real(scans, tmp_path, capsys):
    """The standard routine by `labdct run` is that of `labdct routine`, byte for byte."""
    (tmp_path / "r.yaml").write_text("labdct_recipe: 1\nsteps:\n  - routine: {median_window: 3}\n")
    words = [str(tmp_path / "r.yaml"), str(scans[0]), "-o", str(tmp_path / "out")]
    assert main(["run", *words]) == 0
    alone_ = ["routine", str(scans[0]), "-o", str(tmp_path / "alone.tif"), "--median-window", "3"]
    assert main(alone_) == 0
    made = (tmp_path / "out" / "routine.tif").read_bytes()
    assert made == (tmp_path / "alone.tif").read_bytes()

    every = ["r.yaml", *map(str, scans), "-o", str(tmp_path / "results")]
    every[0] = str(tmp_path / "r.yaml")
    capsys.readouterr()
    assert main(["batch", "plan", *every]) == 0
    assert capsys.readouterr().out.count("routine waiting") == 3
    assert main(["batch", "run", *every, "--threads", "1"]) == 0
    assert main(["batch", "status", *every]) == 0
    assert capsys.readouterr().out.count("routine done") == 3
    assert (tmp_path / "results" / "al" / "routine.tif").read_bytes() == made
    assert main(["batch", "collect", *every]) == 0
    assert "al,done" in (tmp_path / "results" / "scans.csv").read_text()
