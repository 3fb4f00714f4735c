"""Reading and writing files: one module per format, and `open_scan` for any of them."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "opening": ["open_scan"],
        "scan_yaml": ["read_scan_yaml", "write_scan_yaml"],
        "spot_csv": ["read_spot_csv", "write_spot_csv"],
        "tiff": ["TiffFrames", "read_mask", "write_frames"],
    },
)
