"""Small files that declare terabytes, lie elsewhere or pack without end: refused before a read."""

from __future__ import annotations

import json
import resource
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from napari_labdct.background import BackgroundSet
from napari_labdct.core import reading
from napari_labdct.core.errors import LabDCTError, ModelError, ScanError
from napari_labdct.core.npz import read_npz
from napari_labdct.core.schema import Mismatch
from napari_labdct.crystal import GrainMap, material
from napari_labdct.grains.sample_mask import read_mask_volume
from napari_labdct.io import open_scan
from napari_labdct.io.grainmapper import read_grainmapper
from napari_labdct.io.grainmapper_writer import write_grainmapper
from napari_labdct.io.label_stacks import read_labels
from napari_labdct.io.spot_tables import read_table, write_hdf5
from napari_labdct.spots.measurement import SPOT_DTYPE


@pytest.fixture(autouse=True)
def little_memory():
    """No test may take more than 1 GB above what there is: a failure is a MemoryError."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def _grains() -> GrainMap:
    labels = np.zeros((6, 7, 8), np.int32)
    labels[1:5, 1:6, 1:4], labels[1:5, 1:6, 4:7] = 1, 2
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    return GrainMap(labels, 5.0, np.stack([np.eye(3), turn]), (0.01, -0.02, 0.03))


@pytest.fixture
def grain_map(tmp_path) -> Path:
    return write_grainmapper(tmp_path / "g.h5", _grains(), material("Fe"))


@pytest.fixture
def spots(tmp_path) -> Path:
    labels = np.zeros((2, 20, 30), np.int32)
    labels[:, 4:8, 4:8] = 1
    table = np.zeros(2, SPOT_DTYPE)
    table["frame"], table["id"] = [0, 1], 1
    return write_hdf5(tmp_path / "s.h5", table, {"job": "x"}, labels, labels.shape)


def _replace(path: Path, name: str, make) -> Path:
    with h5py.File(path, "r+") as file:
        del file[name]
        make(file, name)
    return path


def _terabytes(file, name, shape=(10**4, 10**4, 10**4)):
    data = file.create_dataset(name, shape, "i4", chunks=(8,) * len(shape), compression="gzip")
    data[(slice(0, 1),) * len(shape)] = 1


def _packed_zeros(file, name):
    data = file.create_dataset(name, (800, 800, 800), "i4", chunks=(100, 800, 800),
                               compression="gzip")  # fmt: skip
    for k in range(0, 800, 100):
        data[k : k + 100] = 0


def _elsewhere(file, name):
    file[name] = h5py.ExternalLink("other.h5", "/x")


def _raw_elsewhere(file, name):
    file.create_dataset(name, (6, 7, 8), "u1", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])


def _virtual(file, name):
    layout = h5py.VirtualLayout((6, 7, 8), "i4")
    layout[...] = h5py.VirtualSource("../other.h5", "x", (6, 7, 8))
    file.create_virtual_dataset(name, layout)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (_terabytes, "is said to have|must have the shape"),  # its corner could be read
        (_packed_zeros, "is said to have"),
        (_elsewhere, "a link to another file"),
        (_raw_elsewhere, "lies in another file"),
        (_virtual, "files of another folder"),
    ],
)
def test_grain_maps_and_sample_masks_say_why_a_volume_is_not_read(grain_map, make, why):
    with h5py.File(grain_map.parent / "other.h5", "w") as file:
        file["x"] = np.ones((6, 7, 8), np.int32)
    path = _replace(grain_map, "LabDCT/Data/GrainId", make)
    with h5py.File(path, "r+") as file:
        del file["LabDCT/Data/Mask"]
    for read in (read_grainmapper, read_mask_volume):
        with pytest.raises(ScanError, match=why):
            read(path)


def test_of_a_sparse_grain_map_only_what_was_written_is_read(grain_map):
    """5000^3 voxels, of which one corner of the sample was ever written."""
    whole = read_grainmapper(grain_map)
    at = np.array([2000, 3000, 1000])

    def sparse(file, name, data):
        shape = (5000, 5000, 5000, *data.shape[3:])
        made = file.create_dataset(name, shape, data.dtype, chunks=(8, 8, 8, *data.shape[3:]))
        made[tuple(slice(a, a + n) for a, n in zip(at, data.shape))] = data

    with h5py.File(grain_map, "r+") as file:
        for name in ("GrainId", "PhaseId", "Rodrigues", "Completeness"):
            data = file[f"LabDCT/Data/{name}"][()]
            del file[f"LabDCT/Data/{name}"]
            sparse(file, f"LabDCT/Data/{name}", data)
    read = read_grainmapper(grain_map)
    assert read.grains.labels.size < 10_000
    assert read.grains.n_grains == 2
    np.testing.assert_allclose(read.grains.orientations, whole.grains.orientations, atol=1e-6)
    # the corner lies where it lay in the large volume
    middle_mm = np.array(whole.grains.center_mm)
    moved_mm = (at[::-1] + (np.array([8, 7, 6]) - 5000) / 2) * 5e-3
    np.testing.assert_allclose(
        read.grains.centroids_mm, whole.grains.centroids_mm + moved_mm, atol=1e-9
    )
    assert np.all(middle_mm < 1)


def test_spot_tables_and_labels_that_declare_terabytes_are_refused(spots):
    _replace(spots, "labels/index", lambda file, name: _terabytes(file, name, (10**12,)))
    with pytest.raises(ScanError, match="is said to have"):
        read_labels(spots)

    def endless(file, name):
        file.create_dataset(name, (10**10,), SPOT_DTYPE, chunks=(100,))

    with pytest.raises(ScanError, match="is said to have"):
        read_table(_replace(spots, "spots", endless), SPOT_DTYPE)


def test_a_background_set_that_declares_terabytes_is_refused(tmp_path, flat_background):
    path = _replace(flat_background.save(tmp_path / "b.h5"), "mean", lambda file, name: _terabytes(
        file, name, (10**4, 10**4)))  # fmt: skip
    with pytest.raises(ScanError, match="is said to have"):
        BackgroundSet.load(path)


def _npz(path: Path, shape: tuple[int, ...], data: bytes) -> Path:
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.npy", "w") as file,
    ):
        about = {"descr": "<f8", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, about)
        file.write(data)
    return path


@pytest.mark.parametrize(
    ("shape", "size"),
    [((10**6, 10**6), 80), ((2**61,), 80), ((-3,), 24), ((30_000_000,), 240_000_000)],
)
def test_archives_that_declare_or_unpack_to_more_than_they_hold_are_refused(tmp_path, shape, size):
    path = _npz(tmp_path / "a.npz", shape, bytes(size))
    with pytest.raises(ModelError, match=r"^no \("):
        read_npz(path, {"a": "f"}, lambda why: ModelError(f"no ({why})"))


def test_archives_with_objects_are_refused_unread(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.array([{"x": 1}], object))
    with pytest.raises(ModelError, match="object"):
        read_npz(tmp_path / "a.npz", {"a": "f"}, lambda why: ModelError(f"no ({why})"))


def _tags(path: Path, **changed: int) -> Path:
    with tifffile.TiffFile(path, mode="r+b") as file:
        for name, value in changed.items():
            file.pages[0].tags[name].overwrite(value)
    return path


def test_packed_pages_that_declare_gigabytes_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.ones((1, 64, 64), np.uint16), compression="zlib", rowsperstrip=64)
    _tags(path, ImageWidth=60_000, ImageLength=60_000, RowsPerStrip=60_000)
    with pytest.raises(ScanError, match="is said to have"):
        open_scan(path)


def test_strips_that_unpack_to_far_more_than_they_stand_for_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    bomb = zlib.compress(bytes(300 << 20), 9)
    noise = np.random.default_rng(0).integers(0, 255, (1, 700, 1000), np.uint8)
    tifffile.imwrite(path, noise, compression="zlib", rowsperstrip=700, metadata=None)
    with tifffile.TiffFile(path, mode="r+b") as file:
        page = file.pages[0]
        assert page.databytecounts[0] > len(bomb)
        file.filehandle.seek(page.dataoffsets[0])
        file.filehandle.write(bomb)
    _tags(path, ImageLength=4, RowsPerStrip=4)
    with pytest.raises(ScanError, match="more bytes than it can stand for"):
        open_scan(path)


def _coco(path: Path, notes: int, edge: int, counts: list[int]) -> Path:
    note = {"image_id": 0, "segmentation": {"counts": counts}, "labdct": {"id": 1}}
    coco = {
        "info": {"recipe": {}},
        "images": [{"height": edge, "width": edge}],
        "annotations": [note] * notes,
    }
    path.write_text(json.dumps(coco))
    return path


@pytest.mark.parametrize(
    ("notes", "edge", "counts", "why"),
    [
        (1000, 4000, [0, 16_000_000], "overlap"),
        (1, 9000, [0, 81_000_000], "impossibly large"),
        (1, 60_000, [0, 5], "impossible or unequal sizes"),
        (1, 100, [10**19], "run length is impossible"),
    ],
)
def test_run_lengths_that_stand_for_gigabytes_are_refused(tmp_path, notes, edge, counts, why):
    with pytest.raises(ScanError, match=why):
        read_labels(_coco(tmp_path / "a.json", notes, edge, counts))


def test_a_parquet_table_of_a_billion_equal_rows_is_refused(tmp_path):
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "a.parquet"
    column = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array(np.zeros(3_000_000, np.int8)), pyarrow.array([1.0])
    )
    pyarrow.parquet.write_table(pyarrow.table({"snr": column}), path)
    assert path.stat().st_size < 20_000
    with pytest.raises(ScanError, match="is said to have"):
        read_table(path, SPOT_DTYPE)


def test_one_long_cell_does_not_make_every_cell_long(tmp_path):
    path = tmp_path / "a.csv"
    header = ",".join(SPOT_DTYPE.names)
    row = ",".join("0" if SPOT_DTYPE[n].kind != "b" else "True" for n in SPOT_DTYPE.names)
    long = row.replace("0,0,0,", "0,0,0." + "0" * 100_000 + ",", 1)
    path.write_text("\n".join([header, long, *[row] * 20_000]))
    assert len(read_table(path, SPOT_DTYPE)[0]) == 20_001


def test_what_is_declared_is_compared_with_the_memory_that_is_free(monkeypatch):
    monkeypatch.setattr(reading, "free_memory", lambda: 100 << 20)
    reading.check_declared("it", 60 << 20)
    for needs, working in ((80 << 20, 1), (30 << 20, 3)):
        with pytest.raises(Mismatch, match="too much for the memory that is free"):
            reading.check_declared("it", needs, None, working)
    reading.check_declared("it", 1 << 20, 1)  # small things are never refused


def test_the_limit_of_a_process_counts_as_memory():
    assert 0 < reading.free_memory() <= 1 << 30


def test_messages_quote_little_of_a_file_that_is_not_ours(tmp_path):
    (tmp_path / "scan.yaml").write_text("omega_csv: ../secret.txt\n")
    (tmp_path / "in").mkdir()
    secret = "root:x:0:0:" + "password" * 40
    (tmp_path / "secret.txt").write_text(secret)
    (tmp_path / "in" / "scan.yaml").write_text("omega_csv: ../secret.txt\n")
    tifffile.imwrite(tmp_path / "in" / "a.tif", np.ones((2, 30, 30), np.uint16))
    with pytest.raises(LabDCTError) as refused:
        open_scan(tmp_path / "in")
    assert secret[:12] not in str(refused.value)
