"""Files for vendors' software: what is written is what is shown, and what would be shown wrongly is refused."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from optics4f.vendors import (
    Panel,
    orientation_of,
    orientation_pattern,
    pack_rows,
    read_alp,
    read_gray,
    read_image_levels,
    read_lut_codes,
    read_planes,
    read_santec_csv,
    unpack_rows,
    with_corner_mark,
    write_alp,
    write_gray,
    write_image,
    write_lut,
    write_planes,
    write_santec_csv,
)

SHAPE = (12, 19)


def panel(bit_depth: int = 8, shape: tuple[int, int] = SHAPE, **options) -> Panel:
    return Panel(shape, "8 um", "532 nm", bit_depth, **options)


def random_levels(bit_depth: int = 8, shape: tuple[int, int] = SHAPE) -> torch.Tensor:
    return torch.randint(0, 2**bit_depth, shape, generator=torch.Generator().manual_seed(7))


def mirror(shape: tuple[int, int] = SHAPE, **options) -> Panel:
    return panel(1, shape, gray_slope=1, **options)


# --- gray values ---


def test_a_ramp_of_delay_gets_darker_where_the_slope_is_negative_and_brighter_where_it_is_positive():
    row = Panel((1, 256), "8 um", "532 nm")
    assert row.gray(np.arange(256)[None]).tolist() == [list(range(255, -1, -1))]
    row = Panel((1, 1024), "8 um", "532 nm", 10, gray_slope=1)
    assert row.gray(np.arange(1024)[None]).tolist() == [list(range(1024))]


@pytest.mark.parametrize("bits", [1, 4, 8, 10, 16])
@pytest.mark.parametrize("slope", [-1, 1])
@pytest.mark.parametrize("flips", [(False, False), (True, False), (False, True), (True, True)])
def test_levels_survive_gray_values_and_flips(bits, slope, flips):
    device = panel(bits, gray_slope=slope, flip_ud=flips[0], flip_lr=flips[1])
    levels = random_levels(bits)
    gray = device.gray(levels)
    assert gray.dtype == (np.uint8 if bits <= 8 else np.uint16)
    assert np.array_equal(device.levels(gray), levels.numpy())


def test_a_mirrored_panel_is_sent_the_mirror_image():
    levels = torch.zeros(SHAPE, dtype=torch.int64)
    levels[1, 2] = 100
    sent = {(ud, lr): panel(flip_ud=ud, flip_lr=lr).gray(levels) for ud in (False, True) for lr in (False, True)}
    where = {flips: tuple(np.argwhere(gray == 155)[0].tolist()) for flips, gray in sent.items()}
    assert where == {(False, False): (1, 2), (True, False): (10, 2), (False, True): (1, 16), (True, True): (10, 16)}


def test_a_smaller_mask_stands_in_the_middle_as_in_a_bundle():
    full = panel().centred(np.full((4, 6), 9))
    top, left = (12 - 4) // 2, (19 - 6) // 2
    assert full.sum() == 4 * 6 * 9
    assert (full[top : top + 4, left : left + 6] == 9).all()


def test_a_preset_gives_the_panel():
    device = Panel.of_device("santec-slm-200", wavelength="1064 nm")
    assert (device.shape, device.bit_depth, device.gray_slope) == ((1200, 1920), 10, -1)
    assert device.pitch == pytest.approx(8e-6)
    assert Panel.of_device("dlp7000", wavelength=532e-9).gray_slope == 1
    with pytest.raises(ValueError, match=r"wavelength must be in 450 nm ... 1.6 um .*got 400 nm"):
        Panel.of_device("santec-slm-200", wavelength="400 nm")
    with pytest.raises(ValueError, match="pitch of meadowlark-1024x1024 must be known"):
        Panel.of_device("meadowlark-1024x1024", wavelength="1064 nm")


# --- files and back ---


@pytest.mark.parametrize("suffix", [".png", ".bmp"])
def test_an_8_bit_image_survives_the_file(suffix, tmp_path):
    device, levels = panel(flip_lr=True), random_levels()
    write_image(tmp_path / f"mask{suffix}", device, levels)
    assert np.array_equal(read_image_levels(tmp_path / f"mask{suffix}", device), levels.numpy())
    with Image.open(tmp_path / f"mask{suffix}") as image:  # what the vendor's software sees
        assert (image.mode, image.size) == ("L", SHAPE[::-1])
        assert np.array_equal(np.asarray(image)[:, ::-1], 255 - levels.numpy())
    assert [path.name for path in tmp_path.iterdir()] == [f"mask{suffix}"]  # no half file beside it


def test_a_10_bit_image_keeps_its_values_in_16_bits(tmp_path):
    device, levels = panel(10), random_levels(10)
    write_image(tmp_path / "mask.png", device, levels)
    assert np.array_equal(read_image_levels(tmp_path / "mask.png", device), levels.numpy())
    with Image.open(tmp_path / "mask.png") as image:
        assert np.array_equal(np.asarray(image), 1023 - levels.numpy())


def test_santecs_table_has_its_numbers_around_it(tmp_path):
    device, levels = panel(10), random_levels(10)
    write_santec_csv(tmp_path / "mask.csv", device, levels)
    lines = (tmp_path / "mask.csv").read_bytes().decode().split("\r\n")
    assert lines[0] == "Y/X," + ",".join(str(n) for n in range(19))
    assert lines[3] == "2," + ",".join(str(1023 - k) for k in levels[2].tolist())
    # slmsuite's own way to read the layout (santec.py, load_vendor_phase_correction)
    theirs = np.loadtxt(tmp_path / "mask.csv", skiprows=1, dtype=int, delimiter=",")[:, 1:]
    assert np.array_equal(theirs, 1023 - levels.numpy())
    assert np.array_equal(read_santec_csv(tmp_path / "mask.csv", device), levels.numpy())


def test_drive_codes_survive_the_lut_file(tmp_path):
    codes = np.rint(np.linspace(300, 3900, 256))
    write_lut(tmp_path / "slm1_at532.lut", codes)
    assert (tmp_path / "slm1_at532.lut").read_bytes().startswith(b"0 300\r\n1 314\r\n")
    assert np.array_equal(read_lut_codes(tmp_path / "slm1_at532.lut"), codes)
    hexadecimal = "".join(f"{index}\t0x{int(code):03X}\n" for index, code in enumerate(codes))
    (tmp_path / "hex.lut").write_text(hexadecimal)
    assert np.array_equal(read_lut_codes(tmp_path / "hex.lut"), codes)


def test_packed_rows_begin_with_the_top_left_mirror_in_bit_7():
    device = mirror((3, 1024))
    levels = np.zeros((3, 1024), dtype=int)
    levels[0, 0] = levels[1, 9] = levels[2, 1023] = 1
    data = pack_rows(device, levels)
    assert len(data) == 3 * 128  # alp.h: an XGA row is 128 bytes
    assert {index: byte for index, byte in enumerate(data) if byte} == {0: 0x80, 128 + 1: 0x40, 2 * 128 + 127: 0x01}
    upside_down = pack_rows(device, levels, top_down=False)
    assert {index: byte for index, byte in enumerate(upside_down) if byte} == {127: 1, 129: 0x40, 256: 0x80}


@pytest.mark.parametrize(("width", "first", "row"), [(1920, 0, 256), (1400, 1, 176)])
def test_packed_rows_are_padded_as_alp_wants_them(width, first, row):
    data = pack_rows(mirror((2, width)), np.ones((2, width), dtype=int))
    assert data == (b"\0" * first + b"\xff" * (width // 8)).ljust(row, b"\0") * 2


@pytest.mark.parametrize("top_down", [True, False])
@pytest.mark.parametrize("flip_ud", [True, False])
def test_packed_rows_survive_the_file(top_down, flip_ud, tmp_path):
    device, levels = mirror(flip_ud=flip_ud), random_levels(1)
    options = {"top_down": top_down, "row_bytes": 5}
    write_alp(tmp_path / "mask.bin", device, levels, **options)
    assert np.array_equal(read_alp(tmp_path / "mask.bin", device, **options), levels.numpy())


@pytest.mark.parametrize("order", ["GRB", "BGR"])
def test_24_masks_are_the_planes_of_one_image(order, tmp_path):
    masks = torch.randint(0, 2, (24, *SHAPE), generator=torch.Generator().manual_seed(1))
    write_planes(tmp_path / "masks.bmp", mirror(), masks, plane_order=order)
    assert np.array_equal(read_planes(tmp_path / "masks.bmp", mirror(), 24, plane_order=order), masks.numpy())
    with Image.open(tmp_path / "masks.bmp") as image:
        pixels = np.asarray(image)
    tenth = (pixels[..., "RGB".index(order[1])] >> 1) & 1  # mask 9 is bit 1 of the second colour
    assert np.array_equal(tenth, masks[9].numpy())


# --- marks ---


@pytest.mark.parametrize("shape", [(12, 19), (19, 12), (16, 16)])
def test_the_letter_f_tells_what_happened_to_it(shape):
    written = orientation_pattern(shape)
    happened = {
        "as written": written,
        "flipped left-right": written[:, ::-1],
        "flipped up-down": written[::-1],
        "turned by 180 degrees": written[::-1, ::-1],
        "transposed": written.T,
        "turned by 90 degrees": np.rot90(written),
        "turned by -90 degrees": np.rot90(written, 3),
        "transposed and turned by 180 degrees": written[::-1, ::-1].T,
    }
    noise = np.random.default_rng(5).normal(0, 0.3, shape)
    for name, seen in happened.items():
        assert orientation_of(3 + 2 * seen + noise.reshape(seen.shape), written) == name


def test_the_letter_is_an_f():
    letter = ["".join(".#"[value] for value in row) for row in orientation_pattern((7, 5))]
    assert letter == [".....", ".###.", ".#...", ".##..", ".#...", ".#...", "....."]


def test_a_pattern_without_orientation_is_no_answer():
    with pytest.raises(ValueError, match="seen must show one orientation"):
        orientation_of(np.eye(8), np.eye(8))
    with pytest.raises(ValueError, match=r"seen must be \(7, 5\) or its transpose, got \(7, 6\)"):
        orientation_of(np.ones((7, 6)), orientation_pattern((7, 5)))


def test_the_corner_mark_lies_at_the_upper_left_along_a_row():
    levels = random_levels(8, (24, 40))
    marked = with_corner_mark(levels, 255, size=2)
    assert (marked[:2, :6] == 255).all()
    marked[:2, :6] = levels[:2, :6]
    assert np.array_equal(marked, levels.numpy())
    with pytest.raises(ValueError, match=r"size must be in 1 ... 3 for 24 x 40 pixels, got 4"):
        with_corner_mark(levels, 255, size=4)


def test_a_flipped_panel_shows_the_pattern_upright(tmp_path):
    device = panel(flip_lr=True)
    pattern = orientation_pattern(SHAPE) * 128
    write_image(tmp_path / "f.png", device, pattern)
    sent = read_gray(tmp_path / "f.png", device)
    shown = 255 - sent[:, ::-1].astype(int)  # the panel is mounted mirrored
    assert orientation_of(shown, pattern) == "as written"
    assert orientation_of(255.0 - sent, pattern) == "flipped left-right"


# --- refusals ---


def with_nan() -> np.ndarray:
    levels = random_levels().double().numpy()
    levels[3, 4] = math.nan
    return levels


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        (random_levels().T, r"\(height, width\) = \(12, 19\) .* got \(19, 12\): it is transposed"),
        (random_levels(8, (13, 20)), r"got \(13, 20\). Nothing is cropped"),
        (random_levels(8, (2, *SHAPE)), r"got \(2, 12, 19\). Take one mask"),
        (with_nan(), "must be finite, got 1 NaN"),
        (random_levels() * 0.5, "must hold whole levels, got fractions"),
        (
            random_levels(10),
            r"must hold 0 ... 255 for 8 bits of the panel, got \d+ ... 10\d\d. It is of another bit depth",
        ),
        (-random_levels(), r"must hold 0 ... 255 .* got -25\d ... 0"),
    ],
)
def test_a_mask_that_would_arrive_wrongly_is_refused(levels, message, tmp_path):
    for write, name in ((write_image, "mask.png"), (write_santec_csv, "mask.csv")):
        with pytest.raises(ValueError, match=message) as error:
            write(tmp_path / name, panel(), levels)
        assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sign", [-1, 1])
def test_light_may_be_off_by_1_nm_and_the_pitch_by_a_thousandth(sign):
    device = panel()
    device.check(wavelength=532e-9 + sign * 0.99e-9, pitch=8e-6 * (1 + sign * 0.99e-3))
    with pytest.raises(ValueError, match="wavelength must be 532 nm"):
        device.check(wavelength=532e-9 + sign * 1.01e-9, pitch=8e-6)
    with pytest.raises(ValueError, match="pitch must be 8 um"):
        device.check(wavelength=532e-9, pitch=8e-6 * (1 + sign * 1.01e-3))


def test_a_mask_for_other_light_or_another_pitch_is_refused():
    with pytest.raises(ValueError, match="wavelength must be 532 nm on the panel, got masks for 633 nm"):
        panel().check(wavelength="633 nm", pitch="8 um")
    with pytest.raises(ValueError, match=r"pitch must be 8 um on the panel, got masks for 9.2 um"):
        panel().check(wavelength=532e-9, pitch=9.2e-6)
    with pytest.raises(ValueError, match="wavelength must be"):
        panel().check(wavelength=math.nan, pitch=8e-6)


def test_an_image_of_another_bit_depth_shape_or_colour_is_refused(tmp_path):
    eight, ten = tmp_path / "8.png", tmp_path / "10.png"
    write_gray(eight, panel(), random_levels().numpy())
    write_gray(ten, panel(10), random_levels(10).numpy())
    with pytest.raises(ValueError, match="must have 10 bits for the panel, got an image of 8 bits"):
        read_gray(eight, panel(10))
    with pytest.raises(ValueError, match="must have 8 bits for the panel, got an image of 16 bits"):
        read_gray(ten, panel())
    with pytest.raises(ValueError, match="it is transposed"):
        read_gray(eight, panel(shape=SHAPE[::-1]))
    Image.fromarray(np.full(SHAPE, 65472, np.uint16)).save(tmp_path / "msb.png")  # 10 bits in the high ones of 16
    with pytest.raises(ValueError, match=r"must hold 0 ... 1023 for 10 bits"):
        read_gray(tmp_path / "msb.png", panel(10))
    colour = np.random.default_rng(0).integers(0, 255, (*SHAPE, 3), dtype=np.uint8)
    Image.fromarray(colour).save(tmp_path / "colour.png")
    with pytest.raises(ValueError, match="must be an image of 8 or 16 bits of gray"):
        read_gray(tmp_path / "colour.png", panel())
    Image.fromarray(colour[..., :1].repeat(3, -1)).save(tmp_path / "gray.bmp")  # as some vendors deliver gray
    assert np.array_equal(read_gray(tmp_path / "gray.bmp", panel()), colour[..., 0])
    for kind, name in (("JPEG", "mask.jpg"), ("JPEG", "mask.png"), ("WEBP", "mask.webp")):
        Image.fromarray(random_levels().numpy().astype(np.uint8)).save(tmp_path / name, format=kind)
        with pytest.raises(ValueError, match=rf"{name} must be a PNG or BMP file, got {kind}, which may hold other"):
            read_gray(tmp_path / name, panel())
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ValueError, match="is not an image that can be read"):
        read_gray(tmp_path / "text.png", panel())
    with pytest.raises(ValueError, match="does not exist"):
        read_gray(tmp_path / "none.png", panel())


def test_files_that_lose_levels_are_not_written(tmp_path):
    with pytest.raises(ValueError, match=r"must end with .png or .bmp"):
        write_image(tmp_path / "mask.jpg", panel(), random_levels())
    with pytest.raises(ValueError, match=r"must be a .png for 10 bits"):
        write_image(tmp_path / "mask.bmp", panel(10), random_levels(10))
    assert list(tmp_path.iterdir()) == []


def test_a_table_without_its_numbers_is_refused(tmp_path):
    np.savetxt(tmp_path / "bare.csv", random_levels(10).numpy(), fmt="%d", delimiter=",")
    with pytest.raises(ValueError, match="must begin with Y/X and the column numbers"):
        read_santec_csv(tmp_path / "bare.csv", panel(10))
    write_santec_csv(tmp_path / "mask.csv", panel(10), random_levels(10))
    good = (tmp_path / "mask.csv").read_text().splitlines()
    for changed, message in (
        ([*good[:4], *good[5:]], "must have the row numbers"),
        (good[:-1], r"got \(11, 19\). Nothing is cropped"),
        ([good[0], good[1].rsplit(",", 1)[0] + ",nan", *good[2:]], "must be finite, got 1 NaN"),
        ([good[0], good[1] + ",5", *good[2:]], "must be a table of numbers"),
    ):
        (tmp_path / "mask.csv").write_text("\n".join(changed))
        with pytest.raises(ValueError, match=message):
            read_santec_csv(tmp_path / "mask.csv", panel(10))


def test_a_lut_file_of_another_length_or_order_is_refused(tmp_path):
    path = tmp_path / "slm.lut"
    with pytest.raises(ValueError, match=r"must have 2\^8 = 256 codes, got 128"):
        write_lut(path, np.arange(128))
    with pytest.raises(ValueError, match=r"must have codes of 0 ... 4095, got 0 ... 65280. State drive_bits"):
        write_lut(path, np.arange(256) * 256)
    with pytest.raises(ValueError, match="must have whole codes"):
        write_lut(path, np.full(256, math.nan))
    with pytest.raises(ValueError, match="must end with .lut"):
        write_lut(tmp_path / "slm.txt", np.arange(256))
    for text, message in (
        ("0 1\n2 3\n", "must count its rows from 0, got 2 in row 1"),
        ("0 1\n1 3\n", r"must have 2\^8 = 256 codes, got 2"),
        ("0 1.5\n", "must have rows of two whole numbers"),
        ("0 1 2\n", "must have rows of two whole numbers"),
        ("0 1\n1\n", "must have rows of two whole numbers"),
        ("", "must have rows of two whole numbers"),
        ("0 1" + 30 * "0" + "\n", "must have rows of two whole numbers, index and code: .* too large"),
        ("0 -5\n" + "".join(f"{n} 0\n" for n in range(1, 256)), r"must have codes of 0 \.\.\. 4095, got -5"),
        ("".join(f"{n} 4096\n" for n in range(256)), r"must have codes of 0 \.\.\. 4095, got 4096"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_lut_codes(path)


def test_patterns_for_mirrors_are_refused_where_they_would_be_inverted_or_padded_by_guess(tmp_path):
    with pytest.raises(ValueError, match="bit_depth of the panel must be 1"):
        pack_rows(panel(8), random_levels(1), row_bytes=3)
    with pytest.raises(ValueError, match="gray_slope of the panel must be 1 for mirrors"):
        pack_rows(panel(1), random_levels(1), row_bytes=3)
    with pytest.raises(ValueError, match="row_bytes must be stated for 19 columns"):
        pack_rows(mirror(), random_levels(1))
    with pytest.raises(ValueError, match="row_bytes must be at least 3 for 19 columns, got 2"):
        pack_rows(mirror(), random_levels(1), row_bytes=2)
    with pytest.raises(ValueError, match="must have 12 rows of 3 bytes for the panel, got 35 bytes"):
        unpack_rows(mirror(), bytes(35), row_bytes=3)
    with pytest.raises(ValueError, match=r"masks must be 1 ... 24 .* got 25"):
        write_planes(tmp_path / "m.bmp", mirror(), [random_levels(1)] * 25, plane_order="GRB")
    write_gray(tmp_path / "gray.png", panel(), random_levels().numpy())
    Image.fromarray(np.zeros((*SHAPE, 3), np.uint8)).save(tmp_path / "planes.jpg")
    for path, count, message in (
        ("planes.jpg", 3, r"planes\.jpg must be a PNG or BMP file, got JPEG"),
        ("gray.png", 25, r"count must be 1 \.\.\. 24 .* got 25"),
        ("gray.png", 3, "must be a 24-bit image, got Pillow's mode L"),
        ("none.bmp", 3, r"none\.bmp does not exist"),
    ):
        with pytest.raises(ValueError, match=message):
            read_planes(tmp_path / path, mirror(), count, plane_order="GRB")
    with pytest.raises(ValueError, match="plane_order must name each of R, G and B once"):
        write_planes(tmp_path / "m.bmp", mirror(), [random_levels(1)], plane_order="GGB")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bit_depth": 0}, r"bit_depth of the panel must be in 1 ... 16, got 0"),
        ({"gray_slope": 2}, "gray_slope of the panel must be -1 or 1, got 2"),
        ({"pitch": 0.0}, "pitch of the panel must be positive, got 0"),
        ({"wavelength": math.inf}, "wavelength of the panel must be positive"),
        ({"shape": (3,)}, "shape of the panel must be"),
    ],
)
def test_a_panel_that_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Panel(**{"shape": SHAPE, "pitch": 8e-6, "wavelength": 532e-9, **options})


def test_an_export_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    write_image(tmp_path / "mask.png", panel(), random_levels())
    before = (tmp_path / "mask.png").read_bytes()
    monkeypatch.setattr(Image.Image, "save", lambda self, path, **_: (path.write_bytes(b"half"), 1 / 0))
    with pytest.raises(ZeroDivisionError):
        write_image(tmp_path / "mask.png", panel(), random_levels() * 0)
    assert (tmp_path / "mask.png").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["mask.png"]
