"""The user's models beside the shipped ones: import, rename, delete, load by name, cards."""

from __future__ import annotations

import pytest

from napari_labdct.cli import main
from napari_labdct.core.errors import ModelError, OutputError
from napari_labdct.networks import library, own_models
from napari_labdct.networks.model import Model


@pytest.fixture
def file(model, tmp_path):
    model.threshold = 111
    model.save(tmp_path / "best.safetensors")
    return tmp_path / "best.safetensors"


def names():
    return [m.name for m in library.list_models()]


def test_an_imported_model_loads_by_its_name(file, home):
    assert names()[:2] == ["compact", "accurate"]  # the quick one is what a dock falls back to
    added = own_models.import_model(file, "Iron, my own".replace(",", ""))
    assert added.path.parent == library.user_models_dir()
    assert home in added.path.parents
    file.unlink()
    assert Model.load("Iron my own", "cpu").threshold == 111
    assert [(m.name, m.shipped) for m in library.list_models()][-1] == ("Iron my own", False)


def test_rename_and_delete(file):
    own_models.import_model(file)
    own_models.rename_model("best", "iron")
    assert "iron" in names()
    assert "best" not in names()
    assert Model.load("iron", "cpu").name == "iron"
    own_models.delete_model("iron")
    assert "iron" not in names()


def test_shipped_models_stay_as_they_are(file):
    for change in (lambda: own_models.rename_model("compact", "mine"),
                   lambda: own_models.delete_model("compact")):  # fmt: skip
        with pytest.raises(ModelError, match="comes with the package and stays"):
            change()
    with pytest.raises(ModelError, match="'compact' comes with the package; choose another name"):
        own_models.import_model(file, "Compact")


def test_nothing_is_replaced_unasked(file, model):
    first = own_models.import_model(file)
    model.threshold = 90
    model.save(file)
    with pytest.raises(ModelError, match="'best' is there already; choose another name"):
        own_models.import_model(file)
    assert Model.load("best", "cpu").threshold == 111
    own_models.import_model(file, overwrite=True)
    assert Model.load("best", "cpu").threshold == 90
    own_models.import_model(file, "other")
    with pytest.raises(ModelError, match="'best' is there already"):
        own_models.rename_model("other", "BEST")
    assert [p.name for p in sorted(first.path.parent.iterdir())] == [
        "best.safetensors",
        "other.safetensors",
    ]


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "dot.", "what?"])
def test_names_that_are_no_file_names_are_refused(file, name):
    with pytest.raises(ModelError, match="cannot be a model's name"):
        own_models.import_model(file, name)
    assert names() == library.shipped_models()


def test_a_truncated_or_foreign_file_is_not_imported(file, tmp_path):
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(ModelError, match="cut short"):
        own_models.import_model(file)
    letter = tmp_path / "letter.safetensors"
    letter.write_text("Dear all,")
    with pytest.raises(ModelError, match="not a model file"):
        own_models.import_model(letter)
    with pytest.raises(ModelError, match="There is no model file"):
        own_models.import_model(tmp_path / "nowhere.safetensors")
    assert names() == library.shipped_models()


def test_a_folder_that_cannot_be_written_is_said(file, home):
    (home / "data").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be copied"):
        own_models.import_model(file)


def test_the_card_says_what_the_shipped_model_is():
    card = library.model_card(Model.load("compact", "cpu").info)
    for part in ("### compact", "451,764 parameters", "rolling median of 31", "96 of 255",
                 "simulated crops of 192 px", "F1 0.8", "loss bce-dice, seed"):  # fmt: skip
        assert part in card


def test_the_card_of_a_model_that_tells_nothing(model):
    card = library.model_card(model.info)
    assert "not said in the file" in card
    assert "Validation" not in card


def test_the_card_says_what_a_fine_tuned_model_learnt_from(model):
    model.training = {
        "start_from": "abcdef0123456789" * 4,
        "pairs": {"part": 0.5, "pairs": 12, "sha256": "0"},
        "scan": {"part": 0.7, "backgrounds": [{"name": "iron", "id": "0"}]},
    }
    card = library.model_card(model.info)
    assert "12 reviewed pairs (50% of the crops)" in card
    assert "simulated spots on the background of iron (70%)" in card
    assert "begun from the model abcdef0123456789\n" in card


def test_the_command(file, capsys):
    assert main(["models", "--import", str(file), "--name", "iron"]) == 0
    assert main(["models"]) == 0
    listed = capsys.readouterr().out
    assert "compact" in listed
    assert str(library.user_models_dir() / "iron.safetensors") in listed
    assert main(["models", "--card", "iron"]) == 0
    assert "111 of 255" in capsys.readouterr().out
    assert main(["models", "--rename", "iron", "steel"]) == 0
    assert main(["models", "--delete", "iron"]) == 1
    assert "There is no own model 'iron'" in capsys.readouterr().err
    assert main(["models", "--delete", "steel"]) == 0
    assert names() == library.shipped_models()
