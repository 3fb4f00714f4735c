"""The docs say what the code does."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from napari_labdct import cli

ROOT = Path(__file__).parent.parent


def test_the_settings_page_is_made_from_the_classes():
    path = ROOT / "scripts" / "make_settings_docs.py"
    spec = importlib.util.spec_from_file_location("make_settings_docs", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.PAGE.read_text(encoding="utf-8") == script.page(), f"run {path.name} again"


def test_the_readme_shows_every_command_and_no_other():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"^labdct (\w+)", readme, re.MULTILINE))
    assert shown == set(cli.COMMANDS)


def test_links_inside_the_docs_lead_somewhere():
    broken = []
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.name}: {target}")
    assert not broken
