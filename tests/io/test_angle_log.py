"""Rotation angles as instruments and spreadsheets write them."""

from __future__ import annotations

import os

import pytest

from napari_labdct.core.errors import ScanError
from napari_labdct.io.angle_log import read_angles, read_angles_csv


@pytest.mark.parametrize(
    "content",
    [
        b"0 -180.0\n1 -177.5\n2 90\n",
        b"# omega  deg\n  0   -180,0\n  1   -177,5\n  2   90,0\n",
        b"Angle log\nof 3 views\n0,-180.0\n1,-177.5\n2,90\n",
        b"# 28.11.2026\n# 160 kV, 3 views\n-180.0\n-177.5\n90\n",
        b"frame,omega,\n0,-180.0,\n1,-177.5,\n2,90,\n",
        "frame;omega\r\n0;-180,0\r\n1;-177,5\r\n2;90\r\n".encode("utf-16"),
        "-180.0\r\n-177.5\r\n90\r\n".encode("utf-16-le"),
        "0\t-180.0\n1\t-177.5\n2\t90\n".encode("utf-16-be"),
        b"0;-180,0;\n1;-177,5;\n2;90,0;\n",
        b"-180,0\n-177,5\n90,0\n",
        b"omega\n-180,0\n-177,5\n90\n",
        b"0, -180.0\n1, -177.5\n2, 90\n",
        b"",
    ],
    ids=str,
)
def test_logs_of_many_kinds(tmp_path, content):
    (tmp_path / "log.txt").write_bytes(content)
    angles = read_angles_csv(tmp_path / "log.txt")
    assert angles == ([-180, -177.5, 90] if content else [])


@pytest.mark.parametrize(
    ("content", "angles"),
    [
        ("0,0\n1,3\n2,6\n", [0, 3, 6]),  # a counter and whole angles
        ("0,0\n0,5\n1,0\n1,5\n", [0, 0.5, 1, 1.5]),
        ("0,0\n1,0\n2,0\n", [0, 1, 2]),
        ("view,deg\n7,10\n9,20\n", [10, 20]),
    ],
)
def test_one_comma_a_line_parts_columns_or_is_the_decimal_point(tmp_path, content, angles):
    (tmp_path / "log.txt").write_text(content)
    assert read_angles_csv(tmp_path / "log.txt") == angles


def test_a_line_without_its_angle_is_not_filled_from_another_column(tmp_path):
    (tmp_path / "log.csv").write_text("0,10,\n1,20,\n2,,\n")
    with pytest.raises(ScanError, match="line 3: '' is not an angle"):
        read_angles_csv(tmp_path / "log.csv")


def test_long_cells_pipes_and_huge_files_are_refused_shortly(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("1\n" + "x" * 100_000)
    with pytest.raises(ScanError, match="line 2") as caught:
        read_angles_csv(path)
    assert len(str(caught.value)) < 300 + len(str(path))
    with path.open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(ScanError, match="larger than 16 MB"):
        read_angles_csv(path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ScanError, match="pipe or a device"):
        read_angles_csv(tmp_path / "pipe")


@pytest.mark.parametrize(
    "content",
    [
        "Projection,Angle(deg),Time(s)\n1,-180.0,0\n2,-177.5,40\n3,90,80\n",
        "omega_deg;current_uA\n-180,0;62\n-177,5;62\n90,0;62\n",
        "Proj:\tAngle\n1:\t-180.0\n2:\t-177.5\n3:\t90\n",  # Nikon's .ang
        "1: -180.0\n2: -177.5\n3: 90\n",
    ],
    ids=str,
)
def test_a_column_that_is_called_an_angle_counts_wherever_it_stands(tmp_path, content):
    (tmp_path / "log.ang").write_text(content)
    assert read_angles(tmp_path / "log.ang") == [-180, -177.5, 90]


@pytest.mark.parametrize(
    "content",
    [
        "[-180, -177.5, 90]",
        '{"omega_deg": [-180, -177.5, 90], "pixel": 3}',
        '{"angles": [{"angle": -180}, {"angle": -177.5}, {"angle": 90}]}',
    ],
)
def test_angles_of_json(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    assert read_angles(tmp_path / "a.json") == [-180, -177.5, 90]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[1, NaN]", "entry 1: nan is not an angle"),
        ("[1, true]", "entry 1: True is not an angle"),
        ('[1, "left"]', "entry 1: 'left' is not an angle"),
        ('{"a": 1}', "no list of angles"),
        ("[" * 5000, "cannot be read as JSON"),
        ("3", "no list of angles"),
    ],
)
def test_json_without_angles_is_said(tmp_path, content, words):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ScanError, match=words):
        read_angles(tmp_path / "a.json")
