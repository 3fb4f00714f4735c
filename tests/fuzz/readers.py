"""Every function that reads a file of the user's, with a sound file for each to be damaged.

A new reader is one `Reader` in `READERS` and one function that writes its seed: files of a
folder, of which the first few are damaged and the others lie beside them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import format_seeds
import h5py
import mutations as m
import numpy as np
import tifffile

SHAPE = (3, 24, 20)


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes
    ----------
    name : str
    seed : callable
        Writes sound files into an empty folder and returns those to be damaged.
    read : callable
        Reads one of them as the program does.
    mutate : callable
        From `mutations`.
    formats : tuple of str
        Names in the program's registries of formats that this covers.
    is_file : bool
        False for texts that are typed, which the test keeps in a file.
    """

    name: str
    seed: Callable[[Path], list[Path]]
    read: Callable[[Path], object]
    mutate: m.Mutator
    formats: tuple[str, ...] = ()
    is_file: bool = True


@cache
def frames() -> np.ndarray:
    """A few small projections with spots."""
    made = np.random.default_rng(0).poisson(100, SHAPE).astype(np.uint16)
    made[:, 5:9, 5:9] += 300
    return made


@cache
def labels() -> np.ndarray:
    made = np.zeros(SHAPE, np.uint16)
    made[:, 5:9, 5:9], made[1:, 15:18, 10:14] = 1, 2
    return made


def _put(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


# ------------------------------------------------------------------- projections


def tiff_seeds(folder: Path) -> list[Path]:
    plain, zipped, planes = (folder / f"{name}.tif" for name in ("plain", "zipped", "planes"))
    tifffile.imwrite(plain, frames(), photometric="minisblack")
    tifffile.imwrite(zipped, frames(), photometric="minisblack", compression="zlib", rowsperstrip=8)
    with tifffile.TiffWriter(planes, byteorder=">") as file:
        for frame in frames():
            file.write(frame, contiguous=False, metadata=None, tile=(16, 16), compression="lzw")
    return [plain, zipped, planes]


def ome_seeds(folder: Path) -> list[Path]:
    path = folder / "set_1.ome.tif"
    tifffile.imwrite(path, frames(), ome=True, metadata={"axes": "TYX"})
    imagej = folder / "imagej.tif"
    tifffile.imwrite(imagej, frames(), imagej=True, metadata={"axes": "TYX"})
    return [path, imagej]


def read_scan(path: Path) -> None:
    """As every command does: opened, its angles and distances looked at, all frames read."""
    from napari_labdct.io import open_scan
    from napari_labdct.scan.plausibility import implausible, meaning

    scan = open_scan(path)
    implausible(scan)
    meaning(scan)
    scan.identity()
    for index in range(min(scan.n_frames, 20)):
        scan.frame(index)
    if (
        scan.description.sample_detector_mm
        and scan.description.pixel_um
        and (scan.description.source_sample_mm)
    ):
        scan.geometry().beam_stop_mask()


SCAN_YAML = """\
frames: [a*.tif]
omega_deg: {start: -90, step: 90}
pixel_um: 50
source_sample_mm: 11.0
sample_detector_mm: 11.0
tube_kv: 140
material: Fe
exposure_s: 30
binning: 2
detector_center_px: [12, 10]
detector_tilt_deg: [0.1, 0.2, 0.3]
beam_stop_px: [[[10, 8], [14, 8], [14, 12], [10, 12]]]
"""


def yaml_seeds(folder: Path) -> list[Path]:
    tifffile.imwrite(folder / "a.tif", frames(), photometric="minisblack")
    other = SCAN_YAML.replace("{start: -90, step: 90}", "[-90, 0.5, 90]")
    return [_put(folder / "scan.yaml", SCAN_YAML), _put(folder / "other.yaml", other)]


def recipe_seeds(folder: Path) -> list[Path]:
    text = """\
labdct_recipe: 1
steps:
- step: denoise
  settings: {model: compact, threshold: 120}
- track
- step: measure
  name: spots
  inputs: {spots: track}
- {step: export, settings: {formats: [h5, labels]}}
"""
    return [_put(folder / "recipe.yaml", text)]


def read_recipe_file(path: Path) -> None:
    from napari_labdct.campaign import read_recipe

    read_recipe(path).to_yaml()


def angle_seeds(folder: Path) -> list[Path]:
    lines = [f"{k},proj_{k:03d}.tif,{-180 + 1.5 * k:.2f}" for k in range(40)]
    plain = _put(folder / "angles.csv", "\n".join(["number,file,omega", *lines]))
    spaced = _put(
        folder / "angles.txt", "\n".join(["# log", *(f"{k} {k * 0.5}" for k in range(30))])
    )
    comma = _put(folder / "comma.csv", "\n".join(f"{k * 0.5}".replace(".", ",") for k in range(30)))
    return [plain, spaced, comma]


def name_seeds(folder: Path) -> list[Path]:
    return [
        _put(
            folder / "names.txt", "\n".join(f"proj_{k:03d}_{k * 0.5:.1f}deg.tif" for k in range(9))
        )
    ]


def read_names(path: Path) -> None:
    from napari_labdct.io.names import about_names, natural_order

    text = path.read_bytes().decode("utf-8", "replace")
    names = [
        Path(line.replace("/", "_").replace("\0", "")[:250] or "x") for line in text.splitlines()
    ]
    about_names(natural_order(names[:500]), None)


# --------------------------------------------------------------------- spots


def spot_table() -> np.ndarray:
    from napari_labdct.review.review import REVIEW_DTYPE

    table = np.zeros(5, REVIEW_DTYPE)
    table["frame"], table["id"] = [0, 1, 1, 2, 2], [1, 1, 2, 1, 2]
    table["row"] = table["col"] = 6.5
    table["area_px"], table["snr"], table["confidence"] = 16, [5, 6, 7, 8, np.nan], 0.9
    table["row_max"], table["col_max"], table["row_min"], table["col_min"] = 8, 8, 5, 5
    return table


RECIPE = {
    "job": "denoise",
    "settings": {"model": "compact"},
    "model": {"name": "compact", "threshold": 120},
    "input": {"name": "a", "id": "ab12", "shape": list(SHAPE)},
    "binarise": {"threshold": 128, "min_size_px": 3},
    "napari_labdct": "0.2",
    "created": "2026-01-01T00:00:00+0000",
}


def _table_seed(name: str) -> Callable[[Path], list[Path]]:
    def seed(folder: Path) -> list[Path]:
        from napari_labdct.review.export import export_table

        return [Path(export_table(folder / name, spot_table(), RECIPE, labels()))]

    return seed


def read_table(path: Path) -> None:
    from napari_labdct.io.spot_tables import claim, read_table
    from napari_labdct.review.review import REVIEW_DTYPE, with_status

    table, recipe = read_table(path, REVIEW_DTYPE)
    assert isinstance(recipe, dict)
    with_status(table)
    np.array([v.decode() if isinstance(v, bytes) else v for v in table["snr"].tolist()], float)
    claim(path, recipe, overwrite=True)


def claim_over(path: Path) -> None:
    """Whether a result may be replaced: its recipe is looked for in a foreign file."""
    from napari_labdct.io.spot_tables import claim

    claim(path, RECIPE, overwrite=False)


def read_mask(path: Path) -> None:
    """As `labdct spots --mask`."""
    from napari_labdct.io.label_stacks import read_labels
    from napari_labdct.spots.detections import Detections

    stack = read_labels(path)
    spots = Detections(stack)
    for index in range(min(stack.shape[0], 10)):
        spots.labelled(index)


def mask_seeds(folder: Path) -> list[Path]:
    masks, numbered = folder / "mask.tif", folder / "labels.tif"
    tifffile.imwrite(masks, (labels() > 0) * np.uint8(255), photometric="minisblack")
    tifffile.imwrite(numbered, labels(), photometric="minisblack", compression="zlib")
    return [masks, numbered]


def review_seeds(folder: Path) -> list[Path]:
    from napari_labdct.review.corrections import Edit
    from napari_labdct.review.review import Review

    path = folder / "r.review.jsonl"
    review = Review(SHAPE, path, {"input": {"id": "ab"}})
    for k in range(4):
        review.set_status([(k % 3, 1)], 1 + k % 2)
    review.undo()
    review.edit(1, Edit(np.array([30, 31]), np.array([5, 5])), labels()[1], "draw", accept=[5])
    review.set_status([(1, 2)], 2)
    return [path]


def read_review(path: Path) -> None:
    from napari_labdct.review.review import Review, ReviewedFrames

    review = Review(SHAPE, path)
    frames = ReviewedFrames(labels(), review, [1])
    for index in range(SHAPE[0]):
        frames.read(index)
    while review.undo():
        pass
    while review.redo():
        pass


def filter_seeds(folder: Path) -> list[Path]:
    text = "snr > 5 and area_px >= 4, found_by = network and status != rejected"
    return [_put(folder / "filter.txt", text)]


def read_filter(path: Path) -> None:
    from napari_labdct.review.selection import where

    where(spot_table(), path.read_bytes().decode("utf-8", "replace"))


# --------------------------------------------------- recipes and training


def sidecar_seeds(folder: Path) -> list[Path]:
    from napari_labdct.core.frame_store import FrameStore

    store = FrameStore.open_or_create(folder / "a.tif", SHAPE, np.uint16, RECIPE)
    store.write(0, frames()[0])
    tifffile.imwrite(folder / "b.tif", frames(), photometric="minisblack")
    return [folder / "a.tif.json", _put(folder / "b.tif.json", json.dumps(RECIPE))]


def read_sidecar(path: Path) -> None:
    from napari_labdct.core.frame_store import FrameStore
    from napari_labdct.core.recipes import recipe_beside
    from napari_labdct.io.opening import open_scan
    from napari_labdct.spots.binarisation import SpotSettings, binarised

    result = path.with_suffix("")
    made = recipe_beside(result)
    cut = binarised(made)
    if cut is not None:
        SpotSettings.from_dict(cut)
    if result.name == "b.tif":
        open_scan(path.parent)
        return
    FrameStore.open_or_create(result, SHAPE, np.uint16, RECIPE).read(0)


def pair_seeds(folder: Path) -> list[Path]:
    from napari_labdct.io.training_pairs import write_training_pairs

    pairs = [(k, frames()[k], frames()[k], labels()[k] > 0, labels()[k] > 9) for k in range(2)]
    list(write_training_pairs(folder, pairs, RECIPE))
    return [folder / "pairs.json", folder / "mask_0001.tif"]


def read_pairs(path: Path) -> None:
    from napari_labdct.training.crops.reviewed_pairs import ReviewedPairs

    ReviewedPairs(path.parent)


def log_seeds(folder: Path) -> list[Path]:
    lines = [
        {
            "done": k,
            "total": 40,
            "loss": 0.5 / k,
            "stage": "frozen",
            "seconds": 2.0 * k,
            "validation": {"f1": 0.8, "precision": 0.7, "recall": 0.9},
            "best": True,
        }
        for k in range(1, 8)
    ]
    log = _put(folder / "log.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    side = {
        "command": "train",
        "title": "x",
        "arguments": ["--seed=1"],
        "pid": 0,
        "ended": "",
        "error": "",
    }
    made = {"job": "training", "train": {"iterations": 40}, "synthesis": {"crop_px": 64}}
    numbers = {"before": {"f1": 0.5}, "after": {"f1": 0.6}}
    return [
        log,
        _put(folder / "dock.json", json.dumps(side)),
        _put(folder / "recipe.json", json.dumps(made)),
        _put(folder / "model.json", json.dumps(numbers)),
    ]


def read_training(path: Path) -> None:
    """As the Train dock lists a run, and as a training takes up its folder."""
    from napari_labdct.gui.train.runs import LogTail, Run, _look
    from napari_labdct.training.run_folder import RunFolder, read_recipe

    folder = path.parent
    listed = _look(folder)
    if listed is not None:
        assert listed.sentence
        assert isinstance(listed.run.title, str)
        listed.run.program  # noqa: B018
    curve = LogTail(Run.load(folder)).read_all()
    for name in ("f1", "precision"):
        curve.numbers(name)
    curve.seconds_each  # noqa: B018
    Run.load(folder).before_after  # noqa: B018
    read_recipe(folder)
    RunFolder(folder).begin({"train": {}}, 3)


def picture_seeds(folder: Path) -> list[Path]:
    (folder / "validation").mkdir()
    path = folder / "validation" / "000010.npz"
    np.savez_compressed(path, frame=frames(), output=frames(), target=labels())
    return [path]


def read_pictures(path: Path) -> None:
    from napari_labdct.gui.train.runs import Run, load_pictures

    list(load_pictures(Run(path.parent.parent)))


def window_seeds(folder: Path) -> list[Path]:
    from napari_labdct.training.crops.simulated_scans import TABLE, SimulatedScansSettings

    path = folder / "w.npz"
    spots = np.zeros(3, TABLE)
    spots["window"], spots["label"], spots["peak"] = [0, 1, 1], [1, 1, 2], 0.5
    images = np.random.default_rng(0).random((2, 64, 64)).astype(np.float16)
    np.savez_compressed(
        path,
        images=images,
        labels=(images > 0.9).astype(np.uint16),
        scan=np.array([0, 1]),
        place=np.array([0, 1]),
        spots=spots,
        recipe=json.dumps(SimulatedScansSettings(window_px=64).to_dict()),
    )
    return [path]


def read_windows(path: Path) -> None:
    from napari_labdct.training.crops.simulated_scans import SimulatedScans
    from napari_labdct.training.settings import SynthesisSettings

    scans = SimulatedScans(path)
    rng = np.random.default_rng(1)
    scans.draw(SynthesisSettings(crop_px=64), rng, np.ones((64, 64), np.float32), 65535.0)


def model_seeds(folder: Path) -> list[Path]:
    import torch

    from napari_labdct.networks.model import Model
    from napari_labdct.networks.registry import build_network

    torch.manual_seed(0)
    options = {"channels": 4, "levels": 1}
    model = Model.of(
        "compact", build_network("compact", **options).state_dict(), options, device="cpu"
    )
    model.training = {
        "train": {"iterations": 5, "batch": 2, "loss": "x", "seed": 1},
        "pairs": {"pairs": 4, "part": 0.5},
    }
    model.save(folder / "m.safetensors")
    return [folder / "m.safetensors"]


def read_model(path: Path) -> None:
    from napari_labdct.networks.library import model_card
    from napari_labdct.networks.model import Model

    model = Model.load(path, "cpu")
    model_card(model.info)
    model(frames()[0])


def summary_seeds(folder: Path) -> list[Path]:
    return [_put(folder / "summary.csv", "quantity,value\nf1,0.91\nprecision,0.9\nspots_a,120\n")]


def read_summary(path: Path) -> None:
    from napari_labdct.evaluation.comparison import read_numbers

    read_numbers(path)


# --------------------------------------------------- background, grains, crystals


def background_seeds(folder: Path) -> list[Path]:
    from napari_labdct.background import BackgroundSet

    rank = np.linspace(-9, 9, 9, dtype=np.float32).reshape(1, 3, 3)
    made = BackgroundSet(
        name="iron",
        mean=np.full((24, 20), 200, np.float32),
        components=rank,
        coefficients=np.ones((5, 1), np.float32),
        cell_px=8,
        drift=np.ones(5, np.float32),
        gain=0.7,
        offset=60.0,
        noise_levels=np.array([200.0]),
        noise_variances=np.array([200.0]),
        hot_pixels=np.array([[5, 6]], np.int32),
        hot_values=np.array([900.0]),
        cosmic_events=2.0,
        cosmic_pixels=4.0,
        cosmic_heights=np.array([300.0]),
        beam_stop_px=(((3.0, 3.0), (9.0, 3.0), (9.0, 9.0)),),
        brightest_percent=0.0,
        recipe={"job": "background", "created": "2026"},
    )
    return [made.save(folder / "b.h5")]


def read_background(path: Path) -> None:
    from napari_labdct.background import BackgroundSet
    from napari_labdct.background.sets import read_card

    read_card(path)
    read = BackgroundSet.load(path)
    for index in range(min(read.n_frames, 5)):
        read.background(index)


def _grains():
    from napari_labdct.crystal import GrainMap

    volume = np.zeros((6, 7, 8), np.int32)
    volume[1:5, 1:6, 1:4], volume[1:5, 1:6, 4:7] = 1, 2
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    return GrainMap(volume, 5.0, np.stack([np.eye(3), turn]))


def grain_seeds(folder: Path) -> list[Path]:
    from napari_labdct.crystal import material
    from napari_labdct.io.grainmapper_writer import write_grainmapper

    path = folder / "g.h5"
    write_grainmapper(
        path,
        _grains(),
        material("Fe"),
        source_sample_mm=11.0,
        sample_detector_mm=11.0,
        tube_kv=140.0,
        n_projections=181,
    )
    return [path]


def read_grains(path: Path) -> None:
    from napari_labdct.simulation.prediction import settings_of_map

    settings_of_map(path)


def outline_seeds(folder: Path) -> list[Path]:
    inside = _grains().labels > 0
    with h5py.File(folder / "ct.h5", "w") as file:
        file["AbsorptionCT/Data"] = inside * np.uint8(200)
        file["AbsorptionCT/Spacing"] = np.full(3, 0.005)
        file["AbsorptionCT/Center"] = np.zeros(3)
    return [folder / "ct.h5"]


def outline_tiff_seeds(folder: Path) -> list[Path]:
    tifffile.imwrite(
        folder / "ct.tif", (_grains().labels > 0) * np.uint8(255), photometric="minisblack"
    )
    return [folder / "ct.tif"]


def read_outline(path: Path) -> None:
    from napari_labdct.grains.sample_mask import outline
    from napari_labdct.grains.settings import GrainSettings

    outline(GrainSettings(mask=str(path), mask_voxel_um=5.0), 5.0)


CIF = """\
data_Fe
_cell_length_a 2.866(2)
_cell_length_b 2.866
_cell_length_c 2.866
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'I m -3 m'
_space_group_IT_number 229
_cell_formula_units_Z 2
_chemical_formula_sum 'Fe1'
_exptl_crystal_density_diffrn 7.87
loop_
_symmetry_equiv_pos_as_xyz
'x, y, z'
'-x, -y, z'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
_atom_site_B_iso_or_equiv
Fe1 Fe 0.0 0.0 0.0 1.0 0.3
Cr1 Cr3+ 0.5 0.5 0.5 0.4 ?
"""


def cif_seeds(folder: Path) -> list[Path]:
    short = CIF.partition("loop_\n_symm")[0] + "loop_\n_atom" + CIF.partition("loop_\n_atom")[2]
    return [_put(folder / "a.cif", CIF), _put(folder / "b.cif", short)]


def read_crystal(path: Path) -> None:
    from napari_labdct.crystal.cif import read_cif

    read_cif(path).reflections(4)


def detector_mask_seeds(folder: Path) -> list[Path]:
    np.save(folder / "mask.npy", labels()[0] > 0)
    return [folder / "mask.npy"]


def read_detector_mask(path: Path) -> None:
    from napari_labdct.io.detector_masks import read_detector_mask

    read_detector_mask(path)


def _of_frames(seeds: Callable[[Path, np.ndarray], list[Path]]) -> Callable[[Path], list[Path]]:
    return lambda folder: seeds(folder, frames())


def read_store(path: Path) -> None:
    """A Zarr store by one of its files."""
    read_scan(next(parent for parent in path.parents if parent.suffix == ".zarr"))


def read_map(path: Path) -> None:
    from napari_labdct.io.grain_map_files import read_grain_map

    read_grain_map(path, material="Fe")


READERS = (
    Reader("detector-mask", detector_mask_seeds, read_detector_mask, m.damaged),
    Reader("tiff", tiff_seeds, read_scan, m.tiff_changed, ("tiff",)),
    Reader("ome-tiff", ome_seeds, read_scan, m.tiff_changed),
    Reader("scan.yaml", yaml_seeds, read_scan, m.yaml_changed, ("scan.yaml",)),
    Reader("recipe", recipe_seeds, read_recipe_file, m.yaml_changed),
    Reader("angles", angle_seeds, lambda p: _angles(p), m.reworded),
    Reader("names", name_seeds, read_names, m.reworded, is_file=False),
    Reader("csv-table", _table_seed("s.csv"), read_table, m.reworded),
    Reader("parquet-table", _table_seed("s.parquet"), read_table, m.parquet_changed),
    Reader("hdf5-table", _table_seed("s.h5"), read_table, m.hdf5_changed),
    Reader("coco-table", _table_seed("s.json"), read_table, m.json_changed),
    Reader("claim-hdf5", _table_seed("s.h5"), claim_over, m.hdf5_changed),
    Reader("claim-json", _table_seed("s.json"), claim_over, m.json_changed),
    Reader("hdf5-labels", _table_seed("s.h5"), read_mask, m.hdf5_changed),
    Reader("coco-labels", _table_seed("s.json"), read_mask, m.json_changed),
    Reader("masks", mask_seeds, read_mask, m.tiff_changed),
    Reader("review", review_seeds, read_review, m.lines_changed),
    Reader("filter", filter_seeds, read_filter, m.reworded, is_file=False),
    Reader("sidecar", sidecar_seeds, read_sidecar, m.json_changed),
    Reader(
        "pairs",
        pair_seeds,
        read_pairs,
        lambda c, r: (m.tiff_changed if c[:2] == b"II" else m.json_changed)(c, r),
    ),
    Reader("training", log_seeds, read_training, m.lines_changed),
    Reader("pictures", picture_seeds, read_pictures, m.npz_changed),
    Reader("windows", window_seeds, read_windows, m.npz_changed),
    Reader("model", model_seeds, read_model, m.safetensors_changed),
    Reader("summary", summary_seeds, read_summary, m.reworded),
    Reader("background", background_seeds, read_background, m.hdf5_changed),
    Reader("grain-map", grain_seeds, read_grains, m.hdf5_changed),
    Reader("outline", outline_seeds, read_outline, m.hdf5_changed),
    Reader("outline-tiff", outline_tiff_seeds, read_outline, m.tiff_changed),
    Reader("cif", cif_seeds, read_crystal, m.reworded),
    Reader("txrm", _of_frames(format_seeds.txrm_seeds), read_scan, m.damaged, ("txrm",)),
    Reader("edf", _of_frames(format_seeds.edf_seeds), read_scan, m.damaged, ("edf",)),
    Reader("cbf", _of_frames(format_seeds.cbf_seeds), read_scan, m.damaged, ("cbf",)),
    Reader("marccd", _of_frames(format_seeds.marccd_seeds), read_scan, m.damaged, ("marccd",)),
    Reader("adsc", _of_frames(format_seeds.adsc_seeds), read_scan, m.damaged, ("adsc",)),
    Reader("nexus", _of_frames(format_seeds.nexus_seeds), read_scan, m.hdf5_changed, ("hdf5",)),
    Reader(
        "zarr",
        _of_frames(format_seeds.zarr_seeds),
        read_store,
        lambda c, r: (m.json_changed if c[:1] == b"{" else m.damaged)(c, r),
        ("zarr",),
    ),
    Reader("dream3d", format_seeds.written(".dream3d", _grains), read_map, m.hdf5_changed),
    Reader("tesr", format_seeds.written(".tesr", _grains), read_map, m.reworded),
    Reader("ubi", format_seeds.written(".ubi", _grains), read_map, m.reworded),
)


def _angles(path: Path) -> None:
    from napari_labdct.io.angle_log import read_angles_csv

    read_angles_csv(path)


# ------------------------------------------------------ readers that the harness must find out


def _dies(path: Path) -> None:
    import os
    import signal

    os.kill(os.getpid(), signal.SIGSEGV)


def _takes_memory(path: Path) -> None:
    np.ones(2 << 30, np.uint8)


def _tells_the_file(path: Path) -> None:
    from napari_labdct.core.errors import ScanError

    raise ScanError(path.read_text()[:200])


def _fails(path: Path) -> None:
    raise KeyError(path.name)


def _long_text(folder: Path) -> list[Path]:
    return [_put(folder / "a.txt", "".join(chr(97 + k % 26) for k in range(300)))]


BROKEN = tuple(
    Reader(name, _long_text, read, lambda content, rng: content)
    for name, read in (
        ("fails", _fails),
        ("takes-memory", _takes_memory),
        ("tells-the-file", _tells_the_file),
        ("dies", _dies),
    )
)
