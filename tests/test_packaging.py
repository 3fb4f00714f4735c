"""What setup.cfg lists by hand is what the tree holds."""

from __future__ import annotations

import configparser
from pathlib import Path

import napari_labdct

ROOT = Path(__file__).parent.parent
SOURCE = Path(napari_labdct.__file__).parent


def test_every_package_is_listed():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = set(config["options"]["packages"].split())
    there = {
        ".".join(["napari_labdct", *path.parent.relative_to(SOURCE).parts])
        for path in SOURCE.rglob("__init__.py")
    }
    assert listed == there | {"napari_labdct.sample_data"}
