"""LabDCT diffraction spots in napari: denoise, binarise, inspect, compare.

The names below are the public library; each is loaded when it is first used, so
``import napari_labdct`` is quick and needs neither Qt, napari nor torch.
"""

from __future__ import annotations

from .core import first_moments  # noqa: F401  # isort: skip  # before what takes time

import lazy_loader as lazy

from ._version import __version__

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "campaign.campaign": ["Campaign"],
        "core.errors": ["LabDCTError"],
        "core.frame_store": ["FrameStore"],
        "core.jobs": ["Progress"],
        "scan.geometry": ["ScanGeometry"],
        "scan.scan": ["Scan"],
        "scan.description": ["ScanDescription"],
        "io": ["open_scan"],
        "background.rolling_median": ["RollingMedian"],
        "spots.log_routine": ["RoutineSettings", "log_segment"],
        "spots.binarisation": ["SpotSettings", "binarise"],
        "spots.measurement": ["measure"],
        "spots.matching": ["match_spots"],
        "spots.tracking": ["TrackSettings", "Tracker"],
        "networks.model": ["Model"],
        "networks.denoising": ["DenoiseSettings", "Denoiser"],
    },
)
__all__ += ["__version__"]
