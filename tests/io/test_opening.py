from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_labdct.core.errors import ScanError
from napari_labdct.io import open_scan, write_frames
from napari_labdct.io.angle_log import read_angles_csv

STACK = np.random.default_rng(3).integers(0, 4000, (5, 31, 23)).astype(np.uint16)


def write_folder(folder, stack=STACK, **options):
    folder.mkdir(exist_ok=True)
    for i, image in enumerate(stack):
        tifffile.imwrite(folder / f"proj{i + 8}.tif", image, **options)
    return folder


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", ">u2"])
@pytest.mark.parametrize(
    "options",
    [{}, {"compression": "zlib"}, {"compression": "lzw"}, {"imagej": True}, {"bigtiff": True},
     {"metadata": None}, {"tile": (16, 16)}],
    ids=str,
)  # fmt: skip
def test_a_multi_page_file_reads_page_by_page(tmp_path, dtype, options):
    stack = STACK.astype(dtype)
    if options.get("imagej"):
        options = options | {"byteorder": ">"}
    tifffile.imwrite(tmp_path / "scan.tif", stack, photometric="minisblack", **options)
    scan = open_scan(tmp_path / "scan.tif")
    assert (scan.n_frames, scan.shape) == (5, (31, 23))
    for i in (4, 0, 2):
        np.testing.assert_array_equal(scan.frame(i), STACK[i].astype(dtype))


def test_a_folder_is_read_in_natural_order(tmp_path):
    scan = open_scan(write_folder(tmp_path / "run"))  # proj8, proj9, proj10 ...
    np.testing.assert_array_equal(np.asarray(scan.frames), STACK)
    assert scan.name == "run"
    files = list((tmp_path / "run").glob("*.tif"))
    np.testing.assert_array_equal(open_scan(files[::-1]).frames[:], STACK)


def test_compressed_pages_are_cached_and_read_only(tmp_path):
    scan = open_scan(write_folder(tmp_path / "run", compression="zlib"))
    with pytest.raises(ValueError, match="read-only"):
        scan.frame(1)[0, 0] = 7


def test_orientation_is_kept_and_rows_stay_as_stored(tmp_path):
    tag = [(274, "H", 1, 4, True)]
    tifffile.imwrite(tmp_path / "a.tif", STACK[0], extratags=tag)
    scan = open_scan(tmp_path / "a.tif")
    assert scan.orientation == 4
    np.testing.assert_array_equal(scan.frame(0), STACK[0])


def test_a_file_cut_off_in_the_middle_of_a_folder_is_named(tmp_path):
    folder = write_folder(tmp_path / "run")
    victim = folder / "proj10.tif"
    victim.write_bytes(victim.read_bytes()[:900])
    with pytest.raises(ScanError, match=r"proj10\.tif is cut off"):
        open_scan(folder)


def page_by_page(path, stack, **options):
    with tifffile.TiffWriter(path, bigtiff=options.pop("bigtiff", False)) as tif:
        for image in stack:
            tif.write(image, **{"metadata": None, "contiguous": False, **options})


MULTI_PAGE = {
    "plain": (tifffile.imwrite, {}),
    "zlib": (tifffile.imwrite, {"compression": "zlib"}),
    "tiles": (tifffile.imwrite, {"compression": "zlib", "tile": (16, 16)}),
    "strips": (tifffile.imwrite, {"compression": "zlib", "rowsperstrip": 4}),
    "bigtiff": (tifffile.imwrite, {"compression": "zlib", "bigtiff": True}),
    "imagej": (tifffile.imwrite, {"imagej": True}),
    "imagej time": (tifffile.imwrite, {"imagej": True, "metadata": {"axes": "TYX"}}),
    "imagej zlib": (tifffile.imwrite, {"imagej": True, "compression": "zlib"}),
    "ome": (tifffile.imwrite, {"ome": True, "metadata": {"axes": "TYX"}}),
    "no metadata": (tifffile.imwrite, {"metadata": None}),
    "pages": (page_by_page, {"rowsperstrip": 4}),
    "bigtiff pages": (page_by_page, {"bigtiff": True}),
    "one after the other": (page_by_page, {"metadata": {}, "contiguous": None}),
    "one after the other, zlib": (page_by_page, {"metadata": {}, "compression": "zlib"}),
    "ours": (write_frames, {}),
    "ours zlib": (write_frames, {"compression": "zlib"}),
}


@pytest.mark.parametrize("kind", MULTI_PAGE)
def test_a_cut_off_file_never_opens_as_a_shorter_scan(tmp_path, kind):
    write, options = MULTI_PAGE[kind]
    stack = STACK[:, :9, :11]
    write(tmp_path / "scan.tif", stack, **options)
    np.testing.assert_array_equal(open_scan(tmp_path / "scan.tif").frames[:], stack)
    content = (tmp_path / "scan.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "scan.tif") as tif:
        pages = [page.offset for page in tif.pages]
    # a page boundary is where a cut is hardest to see
    sizes = {n + more for n in pages for more in (-1, 0, 1, 2, 5)} | set(range(2, 9))
    for size in sizes | set(range(0, len(content), 67)):
        (tmp_path / "cut.tif").write_bytes(content[:size])
        try:
            frames = open_scan(tmp_path / "cut.tif").frames[:]
        except ScanError:
            continue
        np.testing.assert_array_equal(frames, stack, err_msg=f"{kind} cut at {size}")


@pytest.mark.parametrize("options", [{}, {"imagej": True}], ids=str)
def test_a_file_with_fewer_pages_than_it_declares_is_refused(tmp_path, options):
    path = tmp_path / "scan.tif"
    tifffile.imwrite(path, STACK, compression=None if options else "zlib", **options)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tif:
        after_first = tif.pages.first.offset + 2 + 12 * len(tif.pages.first.tags)
        end = tif.pages[0].dataoffsets[0] + sum(tif.pages[0].databytecounts)
    content[after_first : after_first + 4] = bytes(4)  # as where the writer was stopped
    path.write_bytes(content[:end])
    with pytest.raises(ScanError, match="1 of the 5 pages"):
        open_scan(path)


def test_a_description_left_over_from_another_image_is_no_fault(tmp_path):
    note = '{"shape": [7, 40, 40]}'
    tifffile.imwrite(tmp_path / "a.tif", STACK[0], description=note, metadata=None)
    assert open_scan(tmp_path / "a.tif").n_frames == 1


def test_a_compressed_page_damaged_inside_is_named_when_read(tmp_path):
    folder = write_folder(tmp_path / "run", compression="zlib")
    victim = folder / "proj10.tif"
    content = bytearray(victim.read_bytes())
    with tifffile.TiffFile(victim) as tif:
        start = tif.pages[0].dataoffsets[0]
    content[start : start + 40] = bytes(40)
    victim.write_bytes(content)
    scan = open_scan(folder)
    scan.frame(0)
    with pytest.raises(ScanError, match=r"proj10\.tif cannot be read"):
        scan.frame(2)


def test_mixed_sizes_and_types_name_the_odd_one(tmp_path):
    folder = write_folder(tmp_path / "run")
    tifffile.imwrite(folder / "proj11.tif", STACK[0, :20])
    with pytest.raises(ScanError, match=r"proj11\.tif is 20 x 23 uint16, but proj8\.tif is 31"):
        open_scan(folder)
    with tifffile.TiffWriter(tmp_path / "pages.tif") as tif:
        tif.write(STACK[0])
        tif.write(STACK[0, :20])
    with pytest.raises(ScanError, match="mixes pages of different sizes"):
        open_scan(tmp_path / "pages.tif")


def test_what_is_no_scan_is_refused_in_words(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "fake.tif").write_text("this is no image at all")
    (tmp_path / "none.tif").write_bytes(b"")
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((31, 23, 3), np.uint8), photometric="rgb")
    for name, words in [
        ("empty", "holds no TIFF file"),
        ("notes.txt", "not a TIFF file"),
        ("fake.tif", "not a TIFF file"),
        ("none.tif", "not a TIFF file"),
        ("rgb.tif", "colour"),
        ("missing.tif", "does not exist"),
    ]:
        with pytest.raises(ScanError, match=words):
            open_scan(tmp_path / name)


def test_scan_yaml_beside_the_data_gives_angles_and_geometry(tmp_path):
    folder = write_folder(tmp_path / "run")
    (folder / "scan.yaml").write_text(
        "frames: ['proj*.tif']\nomega_deg: {start: 180, step: -3}\npixel_um: 3.36\n"
        "beam_stop_px: [[10, 8], [10, 14], [20, 14], [20, 8]]\nmaterial: Fe\ntube_kv: 160\n"
    )
    for source in (folder, folder / "scan.yaml", list(folder.glob("*.tif"))):
        scan = open_scan(source)
        np.testing.assert_allclose(scan.omega_deg, [180, 177, 174, 171, 168])
        assert scan.description.material == "Fe"
        assert scan.beam_stop_mask().any()


def test_angles_from_a_csv(tmp_path):
    folder = write_folder(tmp_path / "run")
    (folder / "angles.csv").write_text("frame,omega\n0,1.5\n1,2.5\n2,3.5\n3,4.5\n4,9\n")
    (folder / "scan.yaml").write_text("omega_csv: angles.csv\n")
    np.testing.assert_allclose(open_scan(folder).omega_deg, [1.5, 2.5, 3.5, 4.5, 9])


@pytest.mark.parametrize(
    "content",
    [
        b"frame;omega\n0;-180,0\n1;-177,5\n2;90\n",
        b"0;-180,0\r\n1;-177,5\r\n2;90,0\r\n",
        b"frame\tomega\n0\t-180,0\n1\t-177,5\n2\t90\n",
        b'0,"-180,0"\n1,"-177,5"\n2,"90"\n',
        "-180\n-177.5\n90\n".encode("utf-8-sig"),
        "frame;omega (\u00b0)\n0;-180,0\n1;-177,5\n2;90\n".encode("cp1252"),
        "frame,omega; \u00b0\n\n0,-180.0\n1,-177.5\n\n2,90\n".encode(),
    ],
    ids=["semicolons", "no header", "tabs", "quoted", "mark", "cp1252", "semicolon in header"],
)
def test_angles_as_a_spreadsheet_writes_them(tmp_path, content):
    (tmp_path / "angles.csv").write_bytes(content)
    assert read_angles_csv(tmp_path / "angles.csv") == [-180, -177.5, 90]


@pytest.mark.parametrize("cell", ["nan", "-inf", "left", "1,2,3"])
@pytest.mark.parametrize("before", ["omega;deg\n0;1\n\n", "omega;deg\n"])
def test_an_angle_that_is_no_finite_number_is_named(tmp_path, before, cell):
    (tmp_path / "angles.csv").write_text(f"{before}1;{cell}\n")
    line = before.count("\n") + 1
    with pytest.raises(ScanError, match=f"line {line}: '{cell}' is not an angle; write"):
        read_angles_csv(tmp_path / "angles.csv")


def test_a_first_angle_that_is_not_finite_is_no_header(tmp_path):
    (tmp_path / "angles.csv").write_text("nan\n1\n")
    with pytest.raises(ScanError, match="line 1: 'nan' is not an angle"):
        read_angles_csv(tmp_path / "angles.csv")


def test_the_projections_may_stand_in_another_folder(tmp_path):
    folder = write_folder(tmp_path / "run [1]")
    (tmp_path / "notes").mkdir()
    described = tmp_path / "notes" / "scan.yaml"
    by_name = [str(tmp_path / "run [[]1]" / "proj*.tif"), "../run [[]1]/proj8.tif"]
    described.write_text(json.dumps({"frames": by_name[:1], "omega_deg": [0, 1, 2, 3, 4]}))
    np.testing.assert_array_equal(open_scan(described).frames[:], STACK)
    described.write_text(json.dumps({"frames": by_name[1:]}))
    assert open_scan(described).n_frames == 1
    (folder / "scan.yaml").write_text(json.dumps({"frames": by_name[0], "pixel_um": 3}))
    for source in (folder, folder / "proj9.tif"):
        assert open_scan(source).description.pixel_um == 3
    (folder / "scan.yaml").write_text("frames: [proj8.tif, 'proj*.tif']\n")
    np.testing.assert_array_equal(open_scan(folder).frames[:], STACK)  # none of them twice


def test_a_folder_that_may_not_be_entered_is_said(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "run")

    def refuse(path, *args):
        raise PermissionError(13, "Permission denied", str(path))

    for name in ("iterdir", "exists", "is_dir"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, name, refuse)
            with pytest.raises(ScanError, match=r"cannot be opened \(Permission denied\); check"):
                open_scan(folder)
    monkeypatch.setattr(Path, "exists", refuse)
    with pytest.raises(ScanError, match="cannot be opened"):
        open_scan([folder / "proj8.tif", folder / "proj9.tif"])


@pytest.mark.parametrize("described", [None, "pixel_um: 3", "frames: '*.tif'"])
def test_results_beside_the_projections_do_not_enter_the_scan(tmp_path, described):
    folder = write_folder(tmp_path / "run")
    if described:
        (folder / "scan.yaml").write_text(described)
    for name in ("cleaned.tif", "other.tif", "now.part.tif"):
        tifffile.imwrite(folder / name, STACK.astype(np.uint8 if name < "o" else np.uint16))
    (folder / "cleaned.tif.json").write_text('{"recipe": {"job": "denoise"}, "hash": "a"}')
    (folder / "other.tif.json").write_text('{"job": "spots"}')
    (folder / "proj8.tif.json").write_text('{"exposure": 3}')  # the instrument's own
    np.testing.assert_array_equal(open_scan(folder).frames[:], STACK)


def test_a_result_alone_is_what_is_meant(tmp_path):
    tifffile.imwrite(tmp_path / "frames.tif", STACK)
    (tmp_path / "frames.tif.json").write_text('{"recipe": {"job": "simulate"}}')
    assert open_scan(tmp_path).n_frames == 5
    tifffile.imwrite(tmp_path / "other.tif", STACK)
    (tmp_path / "scan.yaml").write_text("frames: frames.tif")
    assert open_scan(tmp_path).n_frames == 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pixel_um: -3", "Pixel size"),
        ("pixels: 3", "'pixels' is not a setting of scan"),
        ("omega_deg: {start: 1}", "start"),
        ("omega_deg: [1, 2]", "5 projections but 2"),
        ("- a list", "name: value"),
        ("a: [", "YAML"),
        ("frames: other*.tif", "none is beside it"),
        ("omega_csv: nowhere.csv", "cannot be read"),
        ("pixels: 3", "exposure_s, frames, mask, material, omega_csv, omega_deg, pixel_um"),
        ("omega_csv: 5", "omega_csv must be a file name"),
        ("frames: ''", "frames must be a file name or a list"),
        ("frames: ['']", "frames must be a file name or a list"),
        ("frames: 5", "frames must be a file name or a list"),
        ("frames: [5]", "frames must be a file name or a list"),
        ("frames: {a: b.tif}", "frames must be a file name or a list"),
        ("frames: /nowhere/*.tif", "none is beside it"),
    ],
)
def test_faults_in_scan_yaml_are_said_in_words(tmp_path, text, words):
    folder = write_folder(tmp_path / "run")
    (folder / "scan.yaml").write_text(text)
    with pytest.raises(ScanError, match=words):
        open_scan(folder)


def test_opening_a_large_stack_reads_no_frame(tmp_path):
    path = tmp_path / "large.tif"
    tifffile.memmap(path, shape=(181, 512, 512), dtype=np.uint16, photometric="minisblack")
    scan = open_scan(path)
    assert scan.n_frames == 181
    assert scan.frames._cache == {}


def test_patterns_and_lists_keep_the_order_in_which_they_are_given(tmp_path):
    for name in ("b/2.tif", "b/10.tif", "a/2.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / name, np.full((16, 16), len(name) + ord(name[0]), np.uint16))
    for frames, levels in [
        ("[b/*.tif, a/*.tif]", [105, 106, 104]),
        ("[b/10.tif, a/2.tif, b/2.tif]", [106, 104, 105]),  # such as by the golden angle
        ("['*/10.tif', '*/*.tif']", [106, 104, 105]),
    ]:
        (tmp_path / "scan.yaml").write_text(f"frames: {frames}\n")
        assert open_scan(tmp_path).frames[:].max((1, 2)).tolist() == levels


@pytest.mark.parametrize("name", ["a[1].tif", "b [x] 2?.tif", "c*.tif"])
def test_a_name_that_is_there_is_no_pattern(tmp_path, name):
    tifffile.imwrite(tmp_path / name, STACK[0])
    tifffile.imwrite(tmp_path / "c1.tif", STACK[1])
    (tmp_path / "scan.yaml").write_text(json.dumps({"frames": [name]}))
    np.testing.assert_array_equal(open_scan(tmp_path).frames[:], STACK[:1])


def test_a_pattern_that_searches_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_labdct.io.patterns.MOST_ENTRIES", 20)
    (tmp_path / "deep").mkdir()
    write_folder(tmp_path / "deep" / "er")
    (tmp_path / "scan.yaml").write_text("frames: 'deep/**/*.tif'\n")
    assert open_scan(tmp_path).n_frames == 5
    for pattern in ("/**/*.tif", "../../**/proj8.tif"):
        (tmp_path / "scan.yaml").write_text(f"frames: '{pattern}'\n")
        with pytest.raises(ScanError, match="searches more than 20 files"):
            open_scan(tmp_path)


def test_scan_yml_is_read_as_scan_yaml_is(tmp_path):
    folder = write_folder(tmp_path / "run")
    (folder / "scan.yml").write_text("pixel_um: 3\n")
    for source in (folder, folder / "proj9.tif"):
        assert open_scan(source).description.pixel_um == 3
    (folder / "scan.yaml").write_text("pixel_um: 4\n")
    assert open_scan(folder).description.pixel_um == 4


def test_a_reference_image_among_the_projections_is_named(tmp_path):
    folder = write_folder(tmp_path / "run")
    tifffile.imwrite(folder / "flat.tif", STACK[0])
    assert "flat.tif" in open_scan(folder).notes[0]
    (folder / "scan.yaml").write_text("omega_deg: [0, 1, 2, 3, 4]\n")
    with pytest.raises(ScanError, match=r"6 projections but 5 rotation angles; flat\.tif"):
        open_scan(folder)


def test_files_of_another_number_than_the_angles_are_named(tmp_path):
    for number in (1, 2, 3, 5, 6):
        tifffile.imwrite(tmp_path / f"run_{number:04d}.tif", STACK[0])
    (tmp_path / "scan.yaml").write_text("omega_deg: [0, 1, 2, 3, 4, 5]\n")
    with pytest.raises(ScanError, match=r"6 rotation angles; run_0004\.tif may be missing"):
        open_scan(tmp_path)
    (tmp_path / "scan.yaml").write_text("omega_deg: [0, 1, 2, 3]\n")
    with pytest.raises(ScanError, match=r"4 rotation angles; there is none for run_0006\.tif"):
        open_scan(tmp_path)


@pytest.mark.parametrize(
    "value",
    ["!!timestamp 2026-13-01", "!!int y", "!!binary é", "0x" + "f" * 6000, "&b [*b]",
     "{" * 900 + "}" * 900, "a" * 90_000, "[" + "ab, " * 9000 + "]"],
    ids=lambda value: value[:14],
)  # fmt: skip
@pytest.mark.parametrize("entry", ["pixel_um", "beam_stop_px", "omega_deg", "frames"])
def test_impossible_values_are_refused_in_one_short_sentence(tmp_path, entry, value):
    (tmp_path / "scan.yaml").write_text(f"{entry}: {value}\n", encoding="utf-8")
    with pytest.raises(ScanError) as caught:
        open_scan(tmp_path / "scan.yaml")
    text = str(caught.value).replace(str(tmp_path), "")
    assert len(text) < 400
    assert "\n" not in text
