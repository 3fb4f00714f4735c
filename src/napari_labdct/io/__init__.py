"""Reading and writing files: one module per format, and `open_scan` for any of them."""

from .opening import open_scan
from .scan_yaml import read_scan_yaml, write_scan_yaml
from .spot_csv import read_spot_csv, write_spot_csv
from .tiff import TiffFrames, read_mask, write_frames

__all__ = [
    "TiffFrames",
    "open_scan",
    "read_mask",
    "read_scan_yaml",
    "read_spot_csv",
    "write_frames",
    "write_scan_yaml",
    "write_spot_csv",
]
