"""EDF, CBF, MarCCD and ADSC: pixels, angles and distances of the headers, damage in words."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
from fabio.cbfimage import CbfImage
from fabio.edfimage import EdfImage

from napari_labdct.core.errors import ScanError
from napari_labdct.io import open_scan

STACK = np.random.default_rng(2).integers(0, 60_000, (4, 33, 40)).astype(np.uint16)


def write_edf(path, stack=STACK, headers=None, **same):
    headers = headers or [{"omega": f"{3.0 * k:.4f}", **same} for k in range(len(stack))]
    image = EdfImage(data=stack[0], header=headers[0])
    for frame, header in zip(stack[1:], headers[1:]):
        image.append_frame(data=frame, header=header)
    image.write(str(path))
    return path


def write_cbf(path, image, start=0.0, more=""):
    told = (
        "# Detector: PILATUS 300K\r\n# 2026/Jan/01\r\n# Pixel_size 172e-6 m x 172e-6 m\r\n"
        f"# Exposure_time 0.9 s\r\n# Detector_distance 0.25 m\r\n# Start_angle {start} deg.\r\n"
        f"# Count_cutoff 1048574 counts\r\n{more}"
    )
    CbfImage(data=image, header={"_array_data.header_contents": told}).write(str(path))
    return path


def write_adsc(path, image, start=0.0, order="little_endian", size=512):
    rows, cols = image.shape
    told = (
        f"{{\nHEADER_BYTES={size:5d};\nDIM=2;\nBYTE_ORDER={order};\nTYPE=unsigned_short;\n"
        f"SIZE1={cols};\nSIZE2={rows};\nPIXEL_SIZE=0.1026;\nTIME=5.0;\nDISTANCE=150.000;\n"
        f"OSC_START={start};\nOSC_RANGE=1.0;\nBIN=2x2;\n}}\f\n"
    )
    stored = image.astype("<u2" if order == "little_endian" else ">u2")
    path.write_bytes(told.encode().ljust(size) + stored.tobytes())
    return path


def write_marccd(path, image, phi=0.0):
    """A TIFF of one strip at byte 4096; the header of MarCCD stands from byte 1024 on."""
    rows, cols = image.shape
    tags = [(256, 4, cols), (257, 4, rows), (258, 3, 16), (259, 3, 1), (262, 3, 1),
            (273, 4, 4096), (277, 3, 1), (278, 4, rows), (279, 4, image.nbytes)]  # fmt: skip
    directory = struct.pack("<H", len(tags))
    directory += b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    content = struct.pack("<2sHI", b"II", 42, 8) + directory + struct.pack("<I", 0)
    content = bytearray(content.ljust(4096, b"\0"))
    goniometer = 1024 + 640  # after format, statistics and reserves
    for place, value in ((0, 200_000), (4, 5000), (8, 5000), (16, 2500), (44, round(1000 * phi))):
        struct.pack_into("<i", content, goniometer + place, value)
    struct.pack_into("<ii", content, 1024 + 768 + 4, 79_000, 79_000)  # nm
    path.write_bytes(bytes(content) + image.astype("<u2").tobytes())
    return path


def test_a_folder_of_edf_is_a_scan_with_the_angles_of_its_headers(tmp_path):
    for k, image in enumerate(STACK):
        header = {"omega": f"{-180 + 2.5 * k}", "PSize_1": "3.36e-06", "ExposureTime": "0.5",
                  "SampleDistance": "0.05"}  # fmt: skip
        write_edf(tmp_path / f"a{k + 8}.edf", image[None], [header])
    scan = open_scan(tmp_path)
    np.testing.assert_array_equal(scan.frames[:], STACK)
    np.testing.assert_allclose(scan.omega_deg, -180 + 2.5 * np.arange(4))
    d = scan.description
    assert (d.pixel_um, d.sample_detector_mm, d.exposure_s) == (3.36, 50, 0.5)
    assert scan.source_of("omega_deg") == scan.source_of("pixel_um") == "from the file"


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
def test_one_edf_with_many_images(tmp_path, dtype):
    stack = (STACK >> 8).astype(dtype)
    scan = open_scan(write_edf(tmp_path / "a.edf", stack))
    np.testing.assert_array_equal(scan.frames[:], stack)
    assert scan.dtype == dtype
    np.testing.assert_allclose(scan.omega_deg, [0, 3, 6, 9])


def test_big_endian_and_packed_edf(tmp_path):
    header = (
        "{\nHeaderID = EH:000001:000000:000000 ;\nByteOrder = HighByteFirst ;\n"
        f"DataType = UnsignedShort ;\nDim_1 = 40 ;\nDim_2 = 33 ;\nSize = {33 * 40 * 2} ;\n"
    )
    content = header.encode().ljust(1022) + b"}\n" + STACK[1].astype(">u2").tobytes()
    (tmp_path / "big.edf").write_bytes(content)
    np.testing.assert_array_equal(open_scan(tmp_path / "big.edf").frame(0), STACK[1])
    write_edf(tmp_path / "a.edf")
    packed = tmp_path / "p" / "a.edf.gz"
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress((tmp_path / "a.edf").read_bytes()))
    for source in (packed, packed.parent):
        scan = open_scan(source)
        np.testing.assert_array_equal(scan.frames[:], STACK)
        np.testing.assert_allclose(scan.omega_deg, [0, 3, 6, 9])
    assert open_scan(packed).name == "a"


def test_motors_of_esrf_tell_the_angle_that_changes(tmp_path):
    headers = [{"motor_mne": "samx diffrz phi", "motor_pos": f"1.5 {k / 2} 7"} for k in range(4)]
    scan = open_scan(write_edf(tmp_path / "a.edf", headers=headers))
    np.testing.assert_allclose(scan.omega_deg, [0, 0.5, 1, 1.5])
    assert dict(scan.known.details)["angles"] == "'diffrz' of the headers"


def test_an_angle_that_some_headers_lack_is_said(tmp_path):
    headers = [{"omega": "1"}, {"omega": "2"}, {"other": "1"}, {"omega": "4"}]
    scan = open_scan(write_edf(tmp_path / "a.edf", headers=headers))
    assert scan.omega_deg is None
    assert any("1 images have no 'omega'" in note for note in scan.notes)


def test_cbf_images_with_the_lines_of_a_pilatus(tmp_path):
    stack = STACK.astype(np.int32)
    for k, image in enumerate(stack):
        write_cbf(tmp_path / f"a_{k + 9:05d}.cbf", image, 10 + 0.1 * k)
    scan = open_scan(tmp_path)
    np.testing.assert_array_equal(scan.frames[:], stack)
    np.testing.assert_allclose(scan.omega_deg, [10, 10.1, 10.2, 10.3])
    d = scan.description
    assert (d.pixel_um, d.sample_detector_mm, d.exposure_s) == (172, 250, 0.9)
    assert dict(scan.known.details)["saturated at"] == "1.04857e+06 counts"


def test_a_length_without_its_unit_is_not_guessed(tmp_path):
    write_cbf(tmp_path / "a.cbf", STACK[0].astype(np.int32), more="# Pixel_size 172\r\n")
    scan = open_scan(tmp_path)
    assert scan.description.pixel_um is None
    assert any("pixel size without a unit (172)" in note for note in scan.notes)


@pytest.mark.parametrize("order", ["little_endian", "big_endian"])
def test_adsc_images(tmp_path, order):
    for k, image in enumerate(STACK):
        write_adsc(tmp_path / f"a_{k + 9:03d}.img", image, k - 2.0, order)
    scan = open_scan(tmp_path)
    np.testing.assert_array_equal(scan.frames[:], STACK)
    np.testing.assert_allclose(scan.omega_deg, [-2, -1, 0, 1])
    d = scan.description
    assert (d.pixel_um, d.sample_detector_mm, d.exposure_s, d.binning) == (102.6, 150, 5, 2)


def test_marccd_images(tmp_path):
    for k, image in enumerate(STACK):
        write_marccd(tmp_path / f"a_{k + 9:03d}.mccd", image, 0.5 * k)
    scan = open_scan(tmp_path)
    np.testing.assert_array_equal(scan.frames[:], STACK)
    np.testing.assert_allclose(scan.omega_deg, [0, 0.5, 1, 1.5])
    d = scan.description
    assert (d.pixel_um, d.sample_detector_mm, d.exposure_s) == (79, 200, 2.5)


WRITERS = {
    "a.edf": lambda path: write_edf(path),
    "a.cbf": lambda path: write_cbf(path, STACK[0].astype(np.int32)),
    "a.img": lambda path: write_adsc(path, STACK[0]),
    "a.mccd": lambda path: write_marccd(path, STACK[0]),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_cut_off_file_is_said_and_never_padded(tmp_path, name):
    whole = WRITERS[name](tmp_path / name)
    content = whole.read_bytes()
    cut, said = tmp_path / f"cut{whole.suffix}", set()
    expected = open_scan(whole).frames[:]
    for size in [*range(0, len(content) - 600, len(content) // 23), len(content) - 600]:
        cut.write_bytes(content[:size])
        try:
            scan = open_scan(cut)
            frames = scan.frames[:]
        except ScanError as error:
            said.add(str(error))
            continue
        # an EDF that ends with an image is a whole EDF of fewer images
        np.testing.assert_array_equal(frames, expected[: len(frames)])
    assert said
    assert all("\n" not in sentence and cut.name in sentence for sentence in said)


@pytest.mark.parametrize("name", WRITERS)
def test_other_content_is_one_sentence(tmp_path, name):
    path = tmp_path / name
    for content in (b"", b"Dear colleague", bytes(9000), b"{" * 9000, b"\xff" * 9000):
        path.write_bytes(content)
        with pytest.raises(ScanError) as caught:
            open_scan(path).frame(0)
        assert "\n" not in str(caught.value)


def test_damage_within_a_cbf_is_found_by_its_checksum(tmp_path):
    path = write_cbf(tmp_path / "a.cbf", STACK[0].astype(np.int32))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    scan = open_scan(path)
    with pytest.raises(ScanError, match=r"a\.cbf is damaged"):
        scan.frame(0)


def test_the_odd_one_is_named_and_a_declared_giant_is_refused(tmp_path):
    write_edf(tmp_path / "a1.edf", STACK[:1])
    write_edf(tmp_path / "a2.edf", STACK[:1, :20])
    with pytest.raises(ScanError, match=r"a2\.edf is 20 x 40 uint16, but a1\.edf is 33"):
        open_scan(tmp_path)
    path = write_adsc(tmp_path / "a.img", STACK[0])
    path.write_bytes(path.read_bytes().replace(b"SIZE1=40;", b"SIZE1=4000000;"))
    with pytest.raises(ScanError, match="cut off"):
        open_scan(path)


def test_pixels_outside_the_folder_are_refused(tmp_path):
    header = (
        "{\nHeaderID = EH:000001:000000:000000 ;\nEDF_BinaryFileName = ../secret.bin ;\n"
        "EDF_BinaryFilePosition = 0 ;\nEDF_BinaryFileSize = 2640 ;\nByteOrder = LowByteFirst ;\n"
        "DataType = UnsignedShort ;\nDim_1 = 40 ;\nDim_2 = 33 ;\nSize = 2640 ;\n"
    )
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.bin").write_bytes(STACK[0].tobytes())
    (tmp_path / "in" / "a.edf").write_bytes(header.encode().ljust(1022) + b"}\n")
    with pytest.raises(ScanError, match="outside its own folder"):
        open_scan(tmp_path / "in" / "a.edf")


def test_a_missing_library_is_named(tmp_path, monkeypatch):
    path = write_edf(tmp_path / "a.edf")
    monkeypatch.setitem(__import__("sys").modules, "fabio.edfimage", None)
    with pytest.raises(ScanError, match="run 'pip install fabio'"):
        open_scan(path)


def test_an_img_of_another_program_is_no_scan(tmp_path):
    from napari_labdct.io.formats import format_of

    (tmp_path / "a.img").write_bytes(bytes(400))
    assert not format_of(tmp_path / "a.img").is_scan(tmp_path / "a.img")
