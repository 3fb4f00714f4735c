"""What cannot become a grain map is refused in one sentence, and nothing that was found is lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
import tifffile

from napari_labdct.cli import main
from napari_labdct.core.errors import ScanError
from napari_labdct.grains import GrainMapping, GrainSettings
from napari_labdct.grains.search import Search
from napari_labdct.io.grainmapper import read_grainmapper
from napari_labdct.io.scan_yaml import write_scan_yaml


@pytest.mark.parametrize(
    ("fact", "words"),
    [
        ("source_sample_mm", "source-sample distance"),
        ("sample_detector_mm", "sample-detector distance"),
        ("tube_kv", "tube voltage"),
        ("material", "material"),
    ],
)
def test_what_is_missing_is_named_with_where_to_enter_it(iron, outline, fact, words):
    scan = iron.scan.replace(description=iron.scan.description.replace(**{fact: None}))
    with pytest.raises(ScanError, match=f"needs the {words}.*scan.yaml"):
        GrainMapping(scan, iron.masks, outline)


def test_angles_are_needed(iron, outline):
    with pytest.raises(ScanError, match=r"needs the rotation angles.*scan.yaml"):
        GrainMapping(iron.scan.replace(omega_deg=None), iron.masks, outline)


def test_full_masks_are_refused(iron, finished, outline):
    job = GrainMapping(iron.scan, iron.masks == 0, outline)
    with pytest.raises(ScanError, match="inverted"):
        finished(job)
    assert job.result is None


def test_too_few_projections_are_refused(iron, outline):
    few = iron.scan.replace(frames=iron.masks[:11], omega_deg=iron.scan.omega_deg[:11])
    with pytest.raises(ScanError, match=r"12 projections.*has 11"):
        GrainMapping(few, iron.masks[:11], outline)
    # A turn that is seen twice is seen once.
    angles = np.tile(iron.scan.omega_deg[:6], 10)
    with pytest.raises(ScanError, match="has 6"):
        GrainMapping(iron.scan.replace(omega_deg=angles), iron.masks, outline)


def test_a_scan_that_turns_the_other_way_gives_no_grain(iron, finished, outline):
    other_way = iron.scan.replace(omega_deg=-iron.scan.omega_deg)
    job = GrainMapping(other_way, iron.masks, outline.replace(effort="quick"))
    with pytest.raises(ScanError, match=r"No grain.*labdct calibrate"):
        finished(job)


def test_a_mask_beside_the_sample_is_said(iron, finished, tmp_path):
    beside = np.zeros((20, 60, 60), np.uint8)
    beside[:, :, -8:] = 1  # 0.22 to 0.3 mm from the axis; the sample ends at 0.035
    tifffile.imwrite(tmp_path / "mask.tif", beside)
    settings = GrainSettings(
        mask=str(tmp_path / "mask.tif"), mask_voxel_um=10, voxel_um=10, threads=1, effort="quick"
    )
    with pytest.raises(ScanError, match=r"whether the sample mask mask.tif holds the sample"):
        finished(GrainMapping(iron.scan, iron.masks, settings))


def test_grains_of_another_material_are_doubted(iron, finished, outline):
    job = GrainMapping(iron.scan, iron.masks, outline.replace(effort="quick"), "Al")
    try:
        said = finished(job).result.doubt
    except ScanError as error:
        said = str(error)
    assert "labdct calibrate" in said
    assert "material" in said


def test_a_right_map_is_not_doubted(small):
    assert small.result.doubt == ""


@pytest.fixture
def folder(iron, tmp_path):
    """The scan on disk, and words of a command that maps it."""
    tifffile.imwrite(tmp_path / "frames.tif", iron.masks.astype(np.uint8))
    tifffile.imwrite(tmp_path / "spots.tif", iron.masks.astype(np.uint8) * 255)
    write_scan_yaml(tmp_path / "scan.yaml", iron.scan, ["frames.tif"])
    return tmp_path


def words(folder, spots: str = "spots.tif") -> list[str]:
    return [
        "grains", str(folder), "--spots", str(folder / spots), "-o", str(folder / "grains.h5"),
        "--sample", "cylinder", "--diameter-um", "70", "--height-um", "90", "--voxel-um", "5",
        "--effort", "quick", "--threads", "1",
    ]  # fmt: skip


def test_masks_of_another_size_need_a_recipe(iron, folder, capsys):
    half = iron.masks[:, ::2, ::2] | iron.masks[:, 1::2, ::2]
    half |= iron.masks[:, ::2, 1::2] | iron.masks[:, 1::2, 1::2]
    tifffile.imwrite(folder / "half.tif", half.astype(np.uint8) * 255)
    assert main(words(folder, "half.tif")) == 1
    assert "169 x 169 pixels" in capsys.readouterr().err
    from napari_labdct.io import open_scan

    made = {"job": "binarise", "input": {"id": open_scan(folder).identity()}}
    (folder / "half.tif.json").write_text(json.dumps(made))
    assert main(words(folder, "half.tif")) == 0
    made_of_half = read_grainmapper(folder / "grains.h5").grains
    assert made_of_half.n_grains >= 0.6 * iron.truth.n_grains


def test_masks_of_another_number_are_refused(iron, folder, capsys):
    tifffile.imwrite(folder / "some.tif", iron.masks[:-1].astype(np.uint8) * 255)
    assert main(words(folder, "some.tif")) == 1
    assert "60 projections" in capsys.readouterr().err


_KILLED = """
import json, os, signal, sys
from napari_labdct.cli import main
from napari_labdct.grains import mapping

write, mapping._SAVE_S = mapping.write_atomically, 0.0

def write_and_die(path, text):
    write(path, text)
    if len(json.loads(text)["search"]["grains"]) >= 4:
        os.kill(os.getpid(), signal.SIGKILL)

mapping.write_atomically = write_and_die
main(sys.argv[1:])
"""


def test_grains_found_before_kill_9_are_kept(folder, monkeypatch):
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED, *words(folder)], capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    state = folder / "grains.h5.part.json"
    kept = json.loads(state.read_text())["search"]["grains"]
    assert len(kept) >= 4
    assert not (folder / "grains.h5").exists()
    taken_up = []
    resume = Search.resume

    def spied(self, state):
        yield from resume(self, state)
        taken_up.extend(g.orientation for g in self.grains)

    monkeypatch.setattr(Search, "resume", spied)
    assert main(words(folder)) == 0
    np.testing.assert_allclose(taken_up, [k["orientation"] for k in kept])
    assert read_grainmapper(folder / "grains.h5").grains.n_grains >= len(kept)
    assert not state.exists()


@pytest.mark.parametrize("text", ["{", '{"hash": 1}'])
def test_a_state_that_is_none_is_begun_anew(iron, finished, outline, tmp_path, text):
    state = tmp_path / "state.json"
    state.write_text(text)
    job = finished(GrainMapping(iron.scan, iron.masks, outline.replace(effort="quick")), state)
    assert len(job.result.table) > 8
    assert not state.exists()


def test_a_cancel_anywhere_leaves_only_the_state(iron, outline, tmp_path):
    """Between any two steps it can be stopped; no step is of another kind than the rest."""
    state = tmp_path / "state.json"
    seen = set()
    while True:
        job = GrainMapping(iron.scan, iron.masks, outline.replace(effort="quick"))
        steps = job.run(state)
        kinds = set()
        for step in steps:
            kind = step.message.split(",")[0].lstrip("0123456789 ")
            kinds.add(kind)
            if kind not in seen and step.done < 1000:
                break
        else:
            break
        seen |= kinds
        steps.close()
        assert job.result is None
        assert [p.name for p in tmp_path.iterdir()] in ([], [state.name])
    assert {"reading the spots", "measuring the chance level", "grains", "final pass"} <= seen
    assert list(tmp_path.iterdir()) == []
