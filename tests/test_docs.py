"""The docs say what the code does."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from pathlib import Path

import yaml

from napari_labdct import cli
from napari_labdct.io.scan_yaml import read_scan_yaml
from napari_labdct.scan.description import ScanDescription

ROOT = Path(__file__).parent.parent
SCAN_YAML = {"frames", "omega_deg", "omega_csv"} | {
    field.name for field in dataclasses.fields(ScanDescription)
}
MADE_WHEN_BUILT = {"commands.md"}  # pages of the site that are in no commit
# Settings that no dock and no command shows.
INNER = {
    "BlobSettings", "CutSettings", "MedianSettings", "MixSettings", "SimulatedScansSettings",
}  # fmt: skip


def load(name: str):
    """A module of ``scripts/``."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def test_the_settings_page_is_made_from_the_classes():
    script = load("make_settings_docs")
    assert script.PAGE.read_text(encoding="utf-8") == script.page(), "run it again"


def test_the_settings_page_has_every_class_that_a_user_meets():
    sources = (ROOT / "src").rglob("*.py")
    classes = {
        name
        for path in sources
        for name in re.findall(
            r"^class (\w+)\(\w*Settings\):", path.read_text(encoding="utf-8"), re.MULTILINE
        )
    }
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert "ScanDescription" in classes
    assert set(re.findall(r"^`(\w+)`: ", page, re.MULTILINE)) == classes - INNER


def test_every_entry_of_scan_yaml_is_described():
    for name in ("settings.md", "geometry.md"):
        page = (ROOT / "docs" / name).read_text(encoding="utf-8")
        start = page.index("## Scan desc" if name == "settings.md" else "## The entries")
        table = page[start : page.index("\n## ", start)]
        assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == SCAN_YAML, name


def test_the_scan_yaml_of_the_readme_can_be_read(tmp_path):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)
    (tmp_path / "scan.yaml").write_text(example, encoding="utf-8")
    described = read_scan_yaml(tmp_path / "scan.yaml")
    assert described.frames
    assert described.omega_deg(2)[1] != described.omega_deg(2)[0]


def test_the_readme_shows_every_command_and_no_other():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"^labdct ([\w-]+)", readme, re.MULTILINE))
    assert shown == set(cli.COMMANDS)


def test_links_inside_the_docs_lead_somewhere():
    broken = []
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" in target or target in MADE_WHEN_BUILT:
                continue
            if not (page.parent / target).exists():
                broken.append(f"{page.name}: {target}")
    assert not broken


def test_the_site_shows_every_page_once():
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))

    def pages(entries):
        for entry in entries:
            for value in entry.values():
                yield from pages(value) if isinstance(value, list) else [value]

    shown = sorted(pages(site["nav"]))
    docs = ROOT / "docs"
    there = {str(p.relative_to(docs).as_posix()) for p in docs.rglob("*.md")} | MADE_WHEN_BUILT
    assert shown == sorted(there)


def test_the_page_of_commands_has_every_command_and_its_flags():
    page = load("make_command_docs").page()
    assert re.findall(r"^## labdct ([\w-]+)$", page, re.MULTILINE) == list(cli.COMMANDS)
    for flag in ("--write-mask", "--augmentations", "--no-timing"):
        assert flag in page
