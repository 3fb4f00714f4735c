"""What of a projection is not spots: rolling median, drift, noise, extracted backgrounds."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "rolling_median": ["RollingMedian"],
        "drift": ["source_drift"],
        "noise": ["noise_map"],
        "extraction": ["Extraction", "Steps"],
        "sets": ["BackgroundSet", "Card", "Measurement", "read_card"],
        "steps": ["ExtractionSettings"],
    },
)
