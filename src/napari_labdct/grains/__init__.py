"""From the spots of a scan to its grains: indexing, growth, grain maps and how good they are."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "calibration": ["Calibration", "CalibrationSettings", "GeometryCalibration"],
        "guided": ["GuidedSpots", "RefineSettings"],
        "mapping": ["GrainMapping"],
        "results": ["GrainResult", "write_grain_csv", "write_result"],
        "settings": ["GrainSettings"],
        "map_comparison": ["MapComparison", "boundary_deviation_um", "compare_maps"],
    },
)
