"""Names give the order of the projections, and sometimes their angles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_labdct.io.names import (
    about_names,
    angles_from_names,
    missing_names,
    natural_order,
)


def paths(*stems):
    return [Path(f"{stem}.tif") for stem in stems]


@pytest.mark.parametrize(
    "stems",
    [
        ("view_-180", "view_-60", "view_0", "view_120"),
        ("turn-90", "turn-30", "turn30", "turn150"),
        ("iron_-0.5deg", "iron_-0.25deg", "iron_0.0deg", "iron_0.75deg", "iron_10.0deg"),
        ("w +0,5", "w +2,25", "w +10,75"),
        ("proj-001", "proj-002", "proj-010"),
        ("2024-11-28_2", "2024-11-28_10", "2024-12-01_1"),
        ("run1.2_9", "run1.2_10"),
        ("step1.9", "step1.10", "step1.11"),
        ("proj", "proj2", "proj10"),
        ("v1.2.3", "v1.2.10", "v1.10.1"),
    ],
    ids=lambda stems: stems[0],
)
def test_names_come_in_the_order_of_their_numbers(stems):
    assert natural_order(paths(*stems[::-1])) == paths(*stems)


def test_folders_keep_their_order_whatever_their_files_are_called():
    given = [Path("later/1.tif"), Path("early/2.tif"), Path("later/10.tif"), Path("later/2.tif")]
    assert [str(p) for p in natural_order(given)] == [
        "later/1.tif", "later/2.tif", "later/10.tif", "early/2.tif",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("stems", "angles"),
    [
        (("view_-180", "view_-60", "view_60"), [-180, -60, 60]),
        (("a_0001_0.0", "a_0002_137.5", "a_0003_275.0"), [0, 137.5, 275]),
        (("omega_000", "omega_003", "omega_006"), [0, 3, 6]),
        (("fe90deg", "fe95deg", "fe100deg"), [90, 95, 100]),
        (("proj-001", "proj-002", "proj-003"), None),
        (("proj001", "proj002", "proj003"), None),
        (("a_1.5_-3", "a_2.5_-2", "a_3.5_-1"), None),  # which of them?
    ],
    ids=str,
)
def test_angles_are_read_from_names_that_tell_them(stems, angles):
    told = angles_from_names(paths(*stems))
    assert told is None if angles is None else list(told) == angles


def test_angles_in_names_are_offered_and_contradictions_are_said():
    names = paths("view_-180", "view_-60", "view_60")
    assert "-180 to 60 deg" in about_names(names, None)[0]
    assert about_names(names, np.array([180.0, 300.0, 60.2])) == []  # the same views
    (note,) = about_names(names, np.array([-180.0, -100.0, -20.0]))
    assert "view_60.tif tells 60 deg, but omega_deg says -20 deg" in note


def test_a_missing_number_and_an_odd_name_are_said():
    assert about_names(paths("p1", "p2", "p3", "p4", "p5"), None) == []
    assert about_names(paths("p0", "p3", "p6", "p9", "p12"), None) == []
    (note,) = about_names(paths("p1", "p2", "p3", "p5", "p6"), None)
    assert "p3.tif and p5.tif" in note
    (note,) = about_names(paths("p1", "p2", "p3", "white"), None)
    assert "white.tif" in note


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (("run_0001", "run_0002", "run_0004"), ["run_0003.tif"]),
        (("run_0008", "run_0009", "run_0011", "run_0012", "run_0013"), ["run_0010.tif"]),
        (("p8", "p9", "p12", "p13", "p14", "p15"), ["p10.tif", "p11.tif"]),
        # a counter and an angle, both regular
        (
            ("a_0001_-4.0deg", "a_0002_-2.0deg", "a_0004_2.0deg", "a_0005_4.0deg"),
            ["a_0003_0.0deg.tif"],
        ),
        # angles alone
        (("t_-60", "t_-58", "t_-56", "t_-52", "t_-50"), ["t_-54.tif"]),
        (("w+00,5", "w+01,0", "w+01,5", "w+02,5", "w+03,0"), ["w+02,0.tif"]),
        (("p1", "p2", "p3", "p5", "p6", "white"), ["p4.tif"]),
    ],
)
def test_the_missing_file_is_named(names, missing):
    notes = " ".join(about_names(paths(*names), None))
    assert f"{', '.join(missing)} seem" in notes.replace("Seem", "seem")
    assert missing_names([p for p in paths(*names) if p.stem != "white"]) == missing


def test_where_the_angle_of_a_missing_file_is_unknown_its_neighbours_are_named():
    golden = paths("g_0001_10deg", "g_0002_147deg", "g_0004_62deg", "g_0005_199deg")
    (first, *_) = about_names(golden, None)
    assert first == ("A file seems to be missing between g_0002_147deg.tif and g_0004_62deg.tif.")


def test_uneven_numbers_are_no_gaps():
    assert missing_names(paths("p0", "p10", "p30", "p35", "p70")) == []
    assert missing_names(paths("a_1", "a_2", "a_5", "a_9", "a_20")) == []
    assert missing_names(paths("a_1_1", "a_1_2", "a_2_1", "a_2_2")) == []
