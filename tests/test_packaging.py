"""What setup.cfg lists by hand is what the tree holds, and a wheel of it works by itself."""

from __future__ import annotations

import configparser
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tifffile
import yaml

import napari_labdct

ROOT = Path(__file__).parent.parent


def load_script(name: str):
    """A module of ``scripts/``."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


check_dist, changelog_part = load_script("check_dist"), load_script("changelog_part")
set_version = load_script("set_version")
#: What conda-forge calls otherwise.
CONDA = {"matplotlib": "matplotlib-base", "torch": "pytorch"}
SOURCE = Path(napari_labdct.__file__).parent


def test_every_package_is_listed():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = set(config["options"]["packages"].split())
    there = {
        ".".join(["napari_labdct", *path.parent.relative_to(SOURCE).parts])
        for path in SOURCE.rglob("__init__.py")
    }
    assert listed == there | {"napari_labdct.pages", "napari_labdct.sample_data"}


def test_the_headless_list_is_all_but_napari_and_qt():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    needed = set(config["options"]["install_requires"].split("\n")) - {""}
    lines = (ROOT / "packaging" / "headless.txt").read_text(encoding="utf-8").splitlines()
    light = {line for line in lines if line and not line.startswith("#")}
    left_out = {re.split(r"[<>=]", name)[0] for name in needed - light}
    assert light < needed
    assert left_out == {"magicgui", "napari", "qtpy", "superqt"}


def test_the_conda_recipe_asks_for_the_same():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    needed = [line for line in config["options"]["install_requires"].split("\n") if line]
    split = [re.fullmatch(r"([\w-]+)(.*)", line).groups() for line in needed]
    recipe = yaml.safe_load((ROOT / "packaging" / "recipe.yaml").read_text(encoding="utf-8"))
    wanted = {f"{CONDA.get(name, name)} {rest}".strip() for name, rest in split}
    python = f"python {config['options']['python_requires']}"
    assert set(recipe["requirements"]["run"]) == wanted | {python}


def test_a_tag_gives_every_file_its_version(tmp_path):
    assert set(set_version.versions().values()) == {napari_labdct.__version__}
    for name in set_version.PLACES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    set_version.set_version("1.2.3rc1", tmp_path)
    assert set(set_version.versions(tmp_path).values()) == {"1.2.3rc1"}
    with pytest.raises(SystemExit, match="mend the tag"):
        set_version.set_version("v1.2", tmp_path)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder of a fresh installation of the wheel, without what it depends on."""
    if not (ROOT / "src").is_dir():  # a release is tested from its wheel, which is installed
        return SOURCE.parent
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignore = shutil.ignore_patterns(
        ".*", "images", "tests", "build", "dist", "*.egg-info", "demo_out*"
    )
    shutil.copytree(ROOT, source, ignore=ignore)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = ["wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", str(folder), str(source)]
    subprocess.run([*pip, *build], check=True)
    (wheel,) = folder.glob("*.whl")
    assert check_dist.faults(wheel) == []
    subprocess.run(
        [*pip, "install", "--no-deps", "--no-index", "--target", str(folder / "site"), str(wheel)],
        check=True,
    )
    return folder / "site"


def test_the_wheel_denoises_the_sample_without_napari_and_qt(installed, tmp_path):
    """On a node of a cluster: neither is there, and nothing asks for them."""
    script = (
        "import sys\n"
        "for name in ('napari', 'qtpy', 'magicgui', 'superqt', 'PyQt6', 'vispy'):\n"
        "    sys.modules[name] = None\n"
        "import napari_labdct\n"
        "from napari_labdct.cli import main\n"
        "from napari_labdct.io.sample import sample_folder\n"
        "print(napari_labdct.__file__)\n"
        "sys.exit(main(['denoise', str(sample_folder() / 'demo'), '-o', 'cleaned.tif',\n"
        "               '--write-mask', 'mask.tif', '--device', 'cpu']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(installed)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(installed))
    assert tifffile.imread(tmp_path / "mask.tif").any()


def test_a_release_takes_its_part_of_the_changelog():
    page = "# Changelog\n\n## Unreleased\n\n- new\n\n## 0.2.0 (2027)\n\n- old\n- older\n\n## 0.1\n"
    assert changelog_part.part(page, "0.2.0") == "- old\n- older\n"
    for missing in ("0.3.0", "0.1"):
        with pytest.raises(SystemExit, match="says nothing of"):
            changelog_part.part(page, missing)
