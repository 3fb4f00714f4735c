"""Rotation angles as instruments and spreadsheets write them."""

from __future__ import annotations

import os

import pytest

from napari_labdct.core.errors import ScanError
from napari_labdct.io.angle_log import read_angles_csv


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
