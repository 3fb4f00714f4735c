"""Rotation matrices about the axes of the laboratory."""

from __future__ import annotations

import math

import numpy as np


def rotation_x(angle_deg: float) -> np.ndarray:
    """Matrix (3, 3) that turns a vector about x by `angle_deg`, counter-clockwise seen from +x."""
    c, s = _cos_sin(angle_deg)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def rotation_y(angle_deg: float) -> np.ndarray:
    """Matrix (3, 3) that turns a vector about y by `angle_deg`, counter-clockwise seen from +y."""
    c, s = _cos_sin(angle_deg)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def rotation_z(angle_deg: float) -> np.ndarray:
    """Matrix (3, 3) that turns a vector about z by `angle_deg`, counter-clockwise seen from +z."""
    c, s = _cos_sin(angle_deg)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _cos_sin(angle_deg: float) -> tuple[float, float]:
    angle = math.radians(angle_deg)
    return math.cos(angle), math.sin(angle)
