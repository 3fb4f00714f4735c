"""Damaged text, and what stands for files that are none: one sentence each, and never more."""

from __future__ import annotations

import mutations
import pytest
from fuzzing import INPUTS, shown, warm_runner
from readers import READERS
from runner import STRANGE

from napari_labdct.io.formats import FORMATS

TEXTS = (
    mutations.reworded,
    mutations.json_changed,
    mutations.lines_changed,
    mutations.yaml_changed,
)
NAMES = [reader.name for reader in READERS if reader.mutate in TEXTS]


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    with warm_runner(tmp_path_factory.mktemp("r")) as ask:
        yield ask


@pytest.mark.parametrize("name", NAMES)
def test_damaged_text_is_read_or_refused_in_one_sentence(ask, name):
    findings = ask(name, 0, INPUTS)
    assert not findings, shown(findings)


@pytest.mark.parametrize("name", [r.name for r in READERS if r.is_file])
def test_pipes_devices_loops_folders_and_nothing_are_refused_at_once(ask, name):
    findings = ask(name, -len(STRANGE), 0)
    assert not findings, shown(findings)


def test_every_format_of_a_file_has_a_seed():
    covered = {name for reader in READERS for name in reader.formats}
    missing = set(FORMATS) - covered
    assert not missing, f"write a Reader with a seed in tests/fuzz/readers.py for {missing}"


def test_names_of_readers_are_their_own():
    assert len({reader.name for reader in READERS}) == len(READERS)
