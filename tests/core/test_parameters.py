from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from typing import Annotated, ClassVar

import pytest

from napari_labdct.core.errors import SettingsError
from napari_labdct.core.parameters import (
    Param,
    Settings,
    add_arguments,
    fields_of,
    from_namespace,
    markdown_table,
)


@dataclass(frozen=True, kw_only=True)
class Example(Settings):
    job: ClassVar[str] = "example"
    size_px: Annotated[int, Param("Size", "px", 1, 9, 1, "How large.")] = 3
    level: Annotated[float | None, Param("Level", min=0)] = None
    mode: Annotated[str, Param("Mode", choices=("a", "b"))] = "a"
    fast: Annotated[bool, Param("Fast")] = False


def test_fields_carry_type_default_and_param():
    size, level, mode, fast = fields_of(Example)
    assert (size.type, size.default, size.param.unit, size.flag) == (int, 3, "px", "--size-px")
    assert level.optional
    assert level.type is float
    assert mode.param.choices == ("a", "b")
    assert fast.type is bool


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"size_px": 10}, "1 to 9 px"),
        ({"size_px": 2.5}, "whole number"),
        ({"size_px": "wide"}, "must be a number"),
        ({"size_px": None}, "needs a value"),
        ({"level": float("nan")}, "finite"),
        ({"level": -1}, "at least 0"),
        ({"mode": "c"}, "one of a, b"),
        ({"fast": "yes"}, "true or false"),
    ],
)
def test_bad_values_are_refused_in_words(values, words):
    with pytest.raises(SettingsError, match=words):
        Example(**values)


def test_round_trip_through_json():
    settings = Example(size_px=5, level=2.5, fast=True)
    assert Example.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


def test_unknown_names_are_refused():
    with pytest.raises(SettingsError, match="'sise' is not a setting of example"):
        Example.from_dict({"sise": 3})


def test_command_line_reads_the_same_fields():
    parser = argparse.ArgumentParser()
    add_arguments(parser, Example)
    given = parser.parse_args(["--size-px", "7", "--mode", "b", "--fast"])
    assert from_namespace(Example, given) == Example(size_px=7, mode="b", fast=True)
    assert from_namespace(Example, parser.parse_args([])) == Example()


def test_table_for_the_docs_names_every_field():
    table = markdown_table(Example)
    assert all(f"`{f.name}`" in table for f in fields_of(Example))
