"""A recipe file is checked whole before anything runs."""

from __future__ import annotations

import pytest
import yaml

from napari_labdct.campaign.recipe_file import parse, read_recipe
from napari_labdct.core.errors import LabDCTError, SettingsError

WHOLE = """\
labdct_recipe: 1
steps:
  - denoise: {model: compact, threshold: 128}
  - track
  - measure
  - routine: {sigma_px: 3, remove_cosmic_rays: true}
  - compare
  - routine: {output: strict, percentage: 5}
  - grains: {sample: cylinder, diameter_um: 500}
"""


def test_steps_read_what_the_nearest_step_above_made(tmp_path):
    (tmp_path / "r.yaml").write_text(WHOLE)
    steps = {step.output: step for step in read_recipe(tmp_path / "r.yaml").steps}
    assert steps["tracked"].reads == (("denoised", "denoised.tif"),)
    assert steps["spots"].reads == (("denoised", "tracked.tif"),)
    assert steps["comparison"].reads == (("mask", "tracked_mask.tif"), ("routine", "routine.tif"))
    assert steps["grains"].reads == (("mask", "tracked_mask.tif"),)
    assert steps["strict"].writes == {"routine": "strict.tif"}


def test_settings_become_flags_even_if_they_are_the_usual_ones(tmp_path):
    (tmp_path / "r.yaml").write_text(WHOLE)
    flags = {step.output: step.flags for step in read_recipe(tmp_path / "r.yaml").steps}
    assert flags["denoised"] == ("--model=compact", "--threshold=128")
    assert set(flags["routine"]) == {"--sigma-px=3.0", "--remove-cosmic-rays"}
    assert flags["tracked"] == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps: [denoise]", "begins with 'labdct_recipe: 1'"),
        ("labdct_recipe: 2\nsteps: [denoise]", "version 2"),
        ("labdct_recipe: 1", "at least one step"),
        ("labdct_recipe: 1\nsteps: []", "at least one step"),
        ("labdct_recipe: 1\nsteps: [denoize]", "is denoise meant"),
        ("labdct_recipe: 1\nsteps: [3]", "not a step"),
        ("labdct_recipe: 1\nsteps: [{denoise: {}, track: {}}]", "not a step"),
        ("labdct_recipe: 1\nsteps: [{denoise: {treshold: 3}}]", "is threshold meant"),
        ("labdct_recipe: 1\nsteps: [{denoise: {threshold: 999}}]", "must be"),
        ("labdct_recipe: 1\nsteps: [{denoise: fast}]", "names and values"),
        ("labdct_recipe: 1\nsteps: [track]", "put denoise before it"),
        ("labdct_recipe: 1\nsteps: [denoise, compare]", "put routine before it"),
        ("labdct_recipe: 1\nsteps: [routine, routine]", "Two steps write routine.tif"),
        ("labdct_recipe: 1\nsteps: [{routine: {output: ../x}}]", "plain name"),
        ("labdct_recipe: 1\nsteps: [routine]\nstep: 3", "not an entry"),
        ("a: [", "cannot be read as YAML"),
        ("", "begins with 'labdct_recipe: 1'"),
    ],
)
def test_faults_are_one_sentence_with_a_remedy(tmp_path, text, said):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(LabDCTError, match=said) as fault:
        read_recipe(tmp_path / "r.yaml")
    assert "r.yaml" in str(fault.value)


def test_too_many_steps_are_refused():
    steps = [{"routine": {"output": f"r{k}"}} for k in range(101)]
    with pytest.raises(SettingsError, match="at most 100"):
        parse(yaml.safe_load(yaml.safe_dump({"labdct_recipe": 1, "steps": steps})))
