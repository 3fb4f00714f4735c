"""A scan: lazy projections, their rotation angles, and the geometry of the instrument."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "scan": ["Scan"],
        "description": ["ScanDescription"],
        "geometry": ["ScanGeometry"],
        "beam_stop": ["guess_beam_stop"],
    },
)
