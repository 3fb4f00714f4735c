"""Sound files of the instruments' formats and of other programs' grain maps, to be damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import zarr
from fabio.cbfimage import CbfImage
from fabio.edfimage import EdfImage
from ole_writer import txrm_streams, write_ole


def txrm_seeds(folder: Path, frames: np.ndarray) -> list[Path]:
    return [write_ole(folder / "scan.txrm", txrm_streams(frames))]


def edf_seeds(folder: Path, frames: np.ndarray) -> list[Path]:
    image = EdfImage(data=frames[0], header={"omega": "0.0", "Distance": "0.25"})
    for k, frame in enumerate(frames[1:], 1):
        image.append_frame(data=frame, header={"omega": f"{3.0 * k}"})
    image.write(str(folder / "scan.edf"))
    return [folder / "scan.edf"]


def cbf_seeds(folder: Path, frames: np.ndarray) -> list[Path]:
    told = "# Pixel_size 172e-6 m x 172e-6 m\r\n# Detector_distance 0.25 m\r\n"
    image = CbfImage(data=frames[0].astype(np.int32), header={"_array_data.header_contents": told})
    image.write(str(folder / "scan.cbf"))
    return [folder / "scan.cbf"]


def adsc_seeds(folder: Path, frames: np.ndarray) -> list[Path]:
    rows, cols = frames[0].shape
    told = (
        "{\nHEADER_BYTES=  512;\nDIM=2;\nBYTE_ORDER=little_endian;\nTYPE=unsigned_short;\n"
        f"SIZE1={cols};\nSIZE2={rows};\nPIXEL_SIZE=0.1026;\nTIME=5.0;\nDISTANCE=150.000;\n"
        "OSC_START=0.0;\nOSC_RANGE=1.0;\nBIN=2x2;\n}\f\n"
    )
    path = folder / "scan.img"
    path.write_bytes(told.encode().ljust(512) + frames[0].astype("<u2").tobytes())
    return [path]


def marccd_seeds(folder: Path, frames: np.ndarray) -> list[Path]:
    from test_detector_files import write_marccd

    return [write_marccd(folder / "scan.mccd", frames[0])]


def nexus_seeds(folder: Path, frames: np.ndarray) -> list[Path]:
    tomo, plain = folder / "scan.nxs", folder / "plain.h5"
    with h5py.File(tomo, "w") as file:
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        entry["definition"] = "NXtomo"
        detector = entry.create_group("instrument/detector")
        detector.create_dataset("data", data=frames, chunks=(1, *frames.shape[1:]))
        detector["image_key"] = np.zeros(len(frames), int)
        detector["x_pixel_size"] = 3.36e-6
        detector["x_pixel_size"].attrs["units"] = "m"
        entry["sample/rotation_angle"] = 3.0 * np.arange(len(frames))
        entry["sample/rotation_angle"].attrs["units"] = "deg"
    with h5py.File(plain, "w") as file:
        file["exchange/data"] = frames
        file["exchange/theta"] = 3.0 * np.arange(len(frames))
    return [tomo, plain]


def zarr_seeds(folder: Path, frames: np.ndarray) -> list[Path]:
    store = folder / "scan.zarr"
    zarr.save_array(str(store), frames, zarr_format=2)
    return [path for path in sorted(store.rglob("*")) if path.is_file()]


def written(end: str, grains) -> Callable[[Path], list[Path]]:
    """A function that writes a grain map in the format of an end of names."""

    def seeds(folder: Path) -> list[Path]:
        from napari_labdct.crystal import material
        from napari_labdct.io.grain_map_files import write_grain_map
        from napari_labdct.io.grainmapper import MeasuredMap

        iron = material("Fe")
        held = MeasuredMap(grains(), iron, 11.0, 11.0, 140.0, 181, (iron,))
        return write_grain_map(folder / f"map{end}", held)

    return seeds
