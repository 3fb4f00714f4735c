"""Stacks that we write come back with every pixel, their angles and units, in every format."""

from __future__ import annotations

import fabio
import h5py
import numpy as np
import pytest
import tifffile
import zarr

from napari_labdct.core.errors import OutputError, ScanError
from napari_labdct.io import open_scan
from napari_labdct.io.formats import FORMATS, format_of
from napari_labdct.scan.description import ScanDescription
from napari_labdct.scan.scan import Scan

STACK = np.random.default_rng(6).integers(0, 200, (5, 33, 40))
OMEGA = np.array([180.0, 177.5, 175.0, 172.5, 170.25])
KNOWN = ScanDescription(
    pixel_um=3.36, source_sample_mm=20.0, sample_detector_mm=30.5, tube_kv=160.0, material="Fe",
    exposure_s=45.0, binning=2,
)  # fmt: skip
RECIPE = {"job": "denoise", "settings": {"threshold": 0.5}}
ENDS = (".ome.tif", ".ome.zarr", ".h5", ".nxs", ".edf")


def made(dtype=np.uint16):
    return Scan(STACK.astype(dtype), OMEGA, KNOWN, name="iron", orientation=4)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
@pytest.mark.parametrize("end", ENDS)
def test_a_stack_comes_back_as_it_was(tmp_path, end, dtype):
    path = tmp_path / f"iron{end}"
    format_of(path).write(path, made(dtype), RECIPE)
    scan = open_scan(path)
    assert scan.dtype == dtype
    np.testing.assert_array_equal(scan.frames[:], STACK.astype(dtype))
    np.testing.assert_allclose(scan.omega_deg, OMEGA)
    assert scan.description == KNOWN
    assert scan.orientation == 4
    assert scan.notes == ()
    assert scan.source_of("pixel_um") == "from the file"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]  # nothing half-written is left


@pytest.mark.parametrize("end", ENDS)
def test_masks_without_anything_known_and_single_images(tmp_path, end):
    path = tmp_path / f"mask{end}"
    format_of(path).write(path, Scan(STACK > 100, name="mask"))
    scan = open_scan(path)
    np.testing.assert_array_equal(scan.frames[:], STACK > 100)
    assert scan.omega_deg is None
    assert scan.description == ScanDescription()
    format_of(path).write(path, Scan(STACK[:1].astype(np.uint16)))  # replaces it
    np.testing.assert_array_equal(open_scan(path).frames[:], STACK[:1])


def test_other_programs_read_what_we_write(tmp_path):
    paths = {}
    for end in ENDS:
        paths[end] = tmp_path / f"iron{end}"
        format_of(paths[end]).write(paths[end], made())
    with tifffile.TiffFile(paths[".ome.tif"]) as tif:
        assert tif.series[0].axes == "TYX"
        assert 'PhysicalSizeX="3.36" PhysicalSizeXUnit="µm"' in tif.ome_metadata
        np.testing.assert_array_equal(tif.asarray(), STACK)
    with fabio.open(str(paths[".edf"])) as edf:
        assert edf.nframes == 5
        np.testing.assert_array_equal(edf.get_frame(3).data, STACK[3])
        assert float(edf.get_frame(3).header["omega"]) == 172.5
    with h5py.File(paths[".nxs"]) as file:
        entry = file["entry"]
        assert entry["definition"][()] == b"NXtomo"
        np.testing.assert_array_equal(entry["data/data"][2], STACK[2])
        assert entry["sample/rotation_angle"].attrs["units"] == "degree"
        assert entry["instrument/source/distance"][()] == -20
        assert not entry["instrument/detector/image_key"][:].any()
    group = zarr.open_group(str(paths[".ome.zarr"]), mode="r")
    image = group.attrs["multiscales"][0]
    assert [axis["name"] for axis in image["axes"]] == ["t", "y", "x"]
    assert image["axes"][1]["unit"] == "micrometer"
    assert image["datasets"][0]["coordinateTransformations"][0]["scale"] == [1, 3.36, 3.36]
    np.testing.assert_array_equal(group["0"][1], STACK[1])


def test_what_is_read_only_says_so_and_a_failure_leaves_what_was_there(tmp_path):
    with pytest.raises(OutputError, match=r"Zeiss files are read but not written; choose .*ome"):
        FORMATS["txrm"].write(tmp_path / "a.txrm", made())

    class Broken:
        shape, dtype = STACK.shape, np.dtype(np.uint16)

        def __getitem__(self, index):
            if index == 3:
                raise ScanError("Projection 3 cannot be read.")
            return STACK[index].astype(np.uint16)

    for end in ENDS:
        path = tmp_path / f"a{end}"
        format_of(path).write(path, made())
        with pytest.raises(ScanError, match="Projection 3"):
            format_of(path).write(path, Scan(Broken()))
        np.testing.assert_array_equal(open_scan(path).frames[:], STACK)
    assert len(list(tmp_path.iterdir())) == len(ENDS)


# ------------------------------------------------------------------- Zarr of other programs


def write_ngff(path, shape, axes, scale=None, version=2, dtype="u2"):
    group = zarr.open_group(str(path), mode="w", zarr_format=version)
    array = group.create_array("s0", shape=shape, chunks=(1,) * (len(shape) - 2) + shape[-2:],
                               dtype=dtype)  # fmt: skip
    values = np.arange(np.prod(shape), dtype=dtype).reshape(shape)
    array[:] = values + 1
    image = {"version": "0.4", "axes": axes, "datasets": [{"path": "s0"}]}
    if scale:
        image["datasets"][0]["coordinateTransformations"] = [{"type": "scale", "scale": scale}]
    if version == 3:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
    else:
        group.attrs["multiscales"] = [image]
    return values + 1


def axis(name, unit=None, kind="space"):
    return {"name": name, "type": kind} | ({"unit": unit} if unit else {})


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("long", ["t", "z"])
def test_ome_zarr_of_two_versions_with_t_or_z_as_the_rotation(tmp_path, version, long):
    shape = (4, 1, 1, 8, 9) if long == "t" else (1, 1, 4, 8, 9)
    axes = [axis("t", kind="time"), axis("c", kind="channel"), axis("z"),
            axis("y", "nanometer"), axis("x", "nanometer")]  # fmt: skip
    values = write_ngff(tmp_path / "a.zarr", shape, axes, [1, 1, 1, 3360, 3360], version)
    scan = open_scan(tmp_path / "a.zarr")
    np.testing.assert_array_equal(scan.frames[:], values.reshape(4, 8, 9))
    assert scan.description.pixel_um == 3.36
    assert format_of(tmp_path / "a.zarr").is_scan(tmp_path / "a.zarr")


def test_an_axis_in_degrees_gives_the_angles(tmp_path):
    axes = [axis("omega", "degree", "rotation"), axis("y"), axis("x")]
    write_ngff(tmp_path / "a.zarr", (4, 8, 9), axes, [2.5, 1, 1])
    np.testing.assert_allclose(open_scan(tmp_path / "a.zarr").omega_deg, [0, 2.5, 5, 7.5])


def test_a_plain_zarr_and_an_array_inside_a_group(tmp_path):
    array = zarr.create_array(
        str(tmp_path / "a.zarr"), shape=(4, 8, 9), chunks=(1, 8, 9), dtype="<f4"
    )
    array[:] = 1.5
    assert open_scan(tmp_path / "a.zarr").frames[2].max() == 1.5
    group = zarr.open_group(str(tmp_path / "b.zarr"), mode="w")
    for name in ("raw", "other"):
        group.create_array(name, shape=(4, 8, 9), chunks=(1, 8, 9), dtype=">u2")[:] = 7
    with pytest.raises(ScanError, match="is a group of arrays"):
        open_scan(tmp_path / "b.zarr")
    scan = open_scan(f"{tmp_path / 'b.zarr'}::/raw")
    assert scan.dtype == np.dtype(np.uint16)
    assert scan.frames[3].min() == 7


@pytest.mark.parametrize(
    ("shape", "names", "words"),
    [
        ((3, 4, 8, 9), "tzyx", "axes t 3, z 4, y 8, x 9; a scan needs"),
        ((3, 8, 9), "cyx", "3 channels"),
        ((3, 8, 9), "xyz", "axes x 3, y 8, z 9; a scan needs"),
    ],
)
def test_axes_that_a_scan_does_not_have_are_named(tmp_path, shape, names, words):
    kinds = {"t": "time", "c": "channel"}
    axes = [axis(name, kind=kinds.get(name, "space")) for name in names]
    write_ngff(tmp_path / "a.zarr", shape, axes)
    with pytest.raises(ScanError, match=words):
        open_scan(tmp_path / "a.zarr")
    assert not format_of(tmp_path / "a.zarr").is_scan(tmp_path / "a.zarr")


def test_half_copied_damaged_and_empty_stores_are_said(tmp_path, monkeypatch):
    path = tmp_path / "a.ome.zarr"
    format_of(path).write(path, made())
    (path / "0" / "3" / "0" / "0").unlink()
    (path / "0" / "1" / "0" / "0").write_bytes(b"no piece of a Zarr store")
    scan = open_scan(path)
    assert any("1 of the 5 pieces" in note for note in scan.notes)
    with pytest.raises(ScanError, match=r"Projection 1 of a\.ome\.zarr cannot be read"):
        scan.frame(1)
    (tmp_path / "b.zarr").mkdir()
    with pytest.raises(ScanError, match="no Zarr array"):
        open_scan(tmp_path / "b.zarr")
    giant = {"shape": (2, 1 << 18, 1 << 18), "chunks": (1, 64, 64), "dtype": "u2"}
    zarr.create_array(str(tmp_path / "c.zarr"), **giant)
    with pytest.raises(ScanError, match="2 GB"):
        open_scan(tmp_path / "c.zarr")
    monkeypatch.setitem(__import__("sys").modules, "zarr", None)
    with pytest.raises(ScanError, match="run 'pip install zarr'"):
        open_scan(path)
    with pytest.raises(OutputError, match="run 'pip install zarr' and write it again"):
        format_of(path).write(path, made())


# ---------------------------------------------------------------------- TIFFs of others


def test_imagej_hyperstacks_tell_the_pixel_size(tmp_path):
    stack = STACK.astype(np.uint16)
    for name, unit, per_unit, pixel in [
        ("a", "micron", 1 / 3.36, 3.36), ("b", "mm", 1 / 0.00336, 3.36), ("c", "pixel", 1.0, None),
    ]:  # fmt: skip
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, stack, imagej=True, resolution=(per_unit, per_unit),
                         metadata={"axes": "TYX", "unit": unit})  # fmt: skip
        scan = open_scan(path)
        assert scan.description.pixel_um == (None if pixel is None else pytest.approx(pixel, 1e-4))
        np.testing.assert_array_equal(scan.frames[:], stack)


def test_ome_tiff_of_others_tells_sizes_and_exposure(tmp_path):
    metadata = {"axes": "ZYX", "PhysicalSizeX": 0.00336, "PhysicalSizeXUnit": "mm",
                "Plane": {"ExposureTime": [0.5] * 5}}  # fmt: skip
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK.astype(">u2"), metadata=metadata, byteorder=">")
    scan = open_scan(tmp_path / "a.ome.tif")
    assert (scan.description.pixel_um, scan.description.exposure_s) == (3.36, 0.5)
    np.testing.assert_array_equal(scan.frames[:], STACK)
