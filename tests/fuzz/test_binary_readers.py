"""Damaged images, volumes, tables and models: each is read, or refused in one sentence."""

from __future__ import annotations

import pytest
from fuzzing import INPUTS, shown, warm_runner
from readers import READERS
from test_text_readers import NAMES as TEXT_NAMES


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    with warm_runner(tmp_path_factory.mktemp("r")) as ask:
        yield ask


@pytest.mark.parametrize("name", [r.name for r in READERS if r.name not in TEXT_NAMES])
def test_damaged_files_are_read_or_refused_in_one_sentence(ask, name):
    findings = ask(name, 0, INPUTS)
    assert not findings, shown(findings)


def test_the_harness_sees_what_is_wrong(ask):
    """A reader that fails, hangs, takes memory or tells the file is found out."""
    assert [f["fault"] for f in ask("fails", 0, 1)] == ["traceback"]
    assert [f["fault"] for f in ask("takes-memory", 0, 1)] == ["memory"]
    assert [f["fault"] for f in ask("tells-the-file", 0, 1)] == ["message holds the file"]
    assert [f["fault"] for f in ask("dies", 0, 1)] == ["signal 11"]
