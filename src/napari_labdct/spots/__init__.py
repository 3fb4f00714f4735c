"""Spots: found (the LoG routine), cut out of denoised projections, matched, measured, tracked."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "binarisation": ["BinaryFrames", "SpotSettings", "binarise"],
        "measurement": ["FrameMeasurer", "SPOT_DTYPE", "measure", "measure_stack"],
        "matching": ["Match", "Score", "match_spots"],
        "detections": ["Detections"],
        "log_routine": ["RoutineSettings", "log_segment"],
        "tracking": ["TrackSettings", "Tracker"],
    },
)
