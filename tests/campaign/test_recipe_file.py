"""Recipe files: what is taken, and what is refused in one sentence that helps."""

from __future__ import annotations

import json

import pytest

from napari_labdct.campaign.recipe_file import Recipe, RecipeError, read_recipe, recipe_of_result
from napari_labdct.campaign.steps import words_of


def written(tmp_path, text: str):
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps: [denoise]", "lacks 'labdct_recipe'"),
        ("labdct_recipe: 2\nsteps: [denoise]", "update napari-labdct"),
        ("labdct_recipe: 1\nsteps: [denois]", "did you mean 'denoise'"),
        ("labdct_recipe: 1\nstep: x\nsteps: [denoise]", "did you mean 'steps'"),
        (
            "labdct_recipe: 1\nsteps:\n- {step: denoise, settings: {treshold: 3}}",
            "did you mean 'threshold'",
        ),
        ("labdct_recipe: 1\nsteps:\n- {step: denoise, settings: {threshold: 300}}", "1 to 255"),
        ("labdct_recipe: 1\nsteps: [track]", "'cleaned' of track is missing"),
        ("labdct_recipe: 1\nsteps: [denoise, compare]", "put a routine step before it"),
        (
            "labdct_recipe: 1\nsteps:\n- denoise\n- {step: track, inputs: {cleaned: clean}}",
            "no earlier step",
        ),
        ("labdct_recipe: 1\nsteps: [denoise, denoise]", "two steps write 'denoise'"),
        (
            "labdct_recipe: 1\nsteps:\n- denoise\n- {step: measure, name: grains}\n- "
            "{step: grains, name: Grains}",
            "two steps write 'Grains'",
        ),
        (
            "labdct_recipe: 1\nsteps:\n- denoise\n- {step: export, settings: {formats: parket}}",
            "did you mean 'parquet'",
        ),
        ("labdct_recipe: 1\nsteps:\n- {step: denoise, name: ../up}", "no name for files"),
        ("labdct_recipe: 1\nsteps: []", "has no step"),
        ("labdct_recipe: 1\nsteps: [", "cannot be read as YAML"),
    ],
)
def test_what_is_wrong_is_said_with_the_nearest_name(tmp_path, text, said):
    with pytest.raises(RecipeError) as refused:
        read_recipe(written(tmp_path, text))
    assert said in str(refused.value)


def test_a_recipe_written_and_read_is_the_same(tmp_path):
    made = Recipe.of(
        [
            {"step": "denoise", "settings": {"threshold": 100, "device": "cpu"}},
            "track",
            {"step": "routine", "name": "log"},
            {"step": "compare", "inputs": {"a": "denoise"}},
            {"step": "export", "settings": {"formats": ["h5", "labels"]}},
        ]
    )
    assert read_recipe(made.write(tmp_path / "r.yaml")) == made


def test_spots_are_cut_as_by_the_step_before_and_the_latest_result_is_read():
    made = Recipe.of(
        [{"step": "denoise", "settings": {"threshold": 100}}, "routine", "track", "measure"]
    )
    words = words_of(made.steps[-1], "scan.yaml", "out")
    assert words[:4] == ["spots", "--denoised", "out/track.tif", "scan.yaml"]
    assert "--threshold=100" in words


def test_a_finished_result_tells_its_recipe(tmp_path):
    stored = {
        "job": "track",
        "settings": {"partner_threshold": 120},
        "model": {"name": "compact", "threshold": 128},
        "input": {"id": "a", "name": "b"},
    }
    (tmp_path / "t.tif.json").write_text(json.dumps({"recipe": stored}))
    made = recipe_of_result(tmp_path / "t.tif")
    assert [step.kind.name for step in made.steps] == ["denoise", "track"]
    assert made.steps[0].settings == {"model": "compact"}
    assert made.steps[1].settings == {"partner_threshold": 120}
    with pytest.raises(RecipeError, match="no recipe of a step"):
        recipe_of_result(tmp_path / "other.tif")
