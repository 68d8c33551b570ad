"""Every mode that Pillow opens: the right 8 bits, or refused with mode and file. Oracles are sums over numbers."""

from __future__ import annotations

import colorsys
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bncore.data import DataError
from bncore.data.picture import EIGHT_BITS, SIXTEEN_BITS, read_picture, suffixes, to_rgb

GRAY_16 = np.array([[0, 1, 128, 129, 255, 256], [257, 32767, 32768, 65407, 65534, 65535]], dtype=np.uint16)


def png(rows: list[bytes], width: int, depth: int, color: int, *, key: bytes = b"") -> bytes:
    """A PNG as the standard describes it; `key` is what its tRNS chunk holds."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    head = struct.pack(">IIBBBBB", width, len(rows), depth, color, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    middle = chunk(b"tRNS", key) if key else b""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + middle + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def gray_of(pixels: NDArray[np.uint8]) -> list[list[int]]:
    """The one channel of a grey picture, (3, height, width)."""
    assert (pixels == pixels[0]).all()
    return [[int(value) for value in row] for row in pixels[0]]


def scaled(values: NDArray[np.uint16], largest: int = 65535) -> list[list[int]]:
    """Each value as the nearest of 256."""
    return [[round(int(value) * 255 / largest) for value in row] for row in values]


def on_white(color: float, opacity: int) -> float:
    return (color * opacity + 255 * (255 - opacity)) / 255


def test_grey_of_16_bits_is_scaled_and_not_clipped(tmp_path: Path) -> None:
    file = tmp_path / "grey.png"
    file.write_bytes(png([row.astype(">u2").tobytes() for row in GRAY_16], 6, 16, 0))
    assert gray_of(read_picture(file)) == scaled(GRAY_16)


@pytest.mark.parametrize("suffix", ["png", "pgm", "tif", "jp2"])
def test_grey_of_16_bits_is_alike_in_every_format(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"grey.{suffix}"
    if suffix == "pgm":
        file.write_bytes(b"P5 6 2 65535\n" + GRAY_16.astype(">u2").tobytes())
    else:
        Image.fromarray(GRAY_16).save(file)
    assert gray_of(read_picture(file)) == scaled(GRAY_16)


def test_big_endian_grey_of_16_bits_is_scaled(tmp_path: Path) -> None:
    file = tmp_path / "grey.tif"
    image = Image.frombytes("I;16B", (6, 2), GRAY_16.astype(">u2").tobytes())
    image.save(file)
    with Image.open(file) as opened:
        assert opened.mode == "I;16B"
    assert gray_of(read_picture(file)) == scaled(GRAY_16)


def test_a_pgm_of_any_range_is_scaled_by_that_range(tmp_path: Path) -> None:
    file = tmp_path / "grey.pgm"
    file.write_bytes(b"P5 3 1 1000\n" + struct.pack(">HHH", 0, 500, 1000))
    assert gray_of(read_picture(file)) == [[0, 128, 255]]


def test_tiff_of_12_bits_and_tiff_with_white_at_zero(tmp_path: Path) -> None:
    """Pillow opens both as if they had 16 bits and black at 0."""
    deep, inverted = tmp_path / "deep.tif", tmp_path / "inverted.tif"
    values = np.array([[0x000, 0x080, 0x0FF, 0xF00]], dtype=np.uint16)
    packed = bytes([0x00, 0x00, 0x80, 0x0F, 0xFF, 0x00])
    deep.write_bytes(tiff(packed, bits=12, width=4, photometric=1))
    assert gray_of(read_picture(deep)) == scaled(values, 4095)
    inverted.write_bytes(tiff(struct.pack("<HHH", 0, 257, 65535), bits=16, width=3, photometric=0))
    assert gray_of(read_picture(inverted)) == [[255, 254, 0]]


def tiff(strip: bytes, *, bits: int, width: int, photometric: int) -> bytes:
    """A TIFF of one row, little-endian."""
    tags = [(256, width), (257, 1), (258, bits), (259, 1), (262, photometric), (273, 8 + 2 + 9 * 12 + 4)]
    tags += [(277, 1), (278, 1), (279, len(strip))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + strip


@pytest.mark.parametrize("mode", sorted(SIXTEEN_BITS))
def test_every_layout_of_16_bits_reads_alike(mode: str) -> None:
    """The array that Pillow gives for a mode has the values, whatever their order of bytes."""
    order = ">" if mode == "I;16B" else "<"
    image = Image.frombytes(mode, (6, 2), GRAY_16.astype(f"{order}u2").tobytes())
    assert (np.asarray(image).astype(np.int64) == GRAY_16).all()
    with pytest.raises(DataError, match=f"mode {mode} "):
        to_rgb(image)  # without a file nothing tells the range


@pytest.mark.parametrize(
    ("mode", "values"), [("I", [[-5, 70000]]), ("F", [[0.0, 0.5]])], ids=["32 bits", "floating point"]
)
def test_values_without_a_range_are_refused_with_mode_and_file(
    tmp_path: Path, mode: str, values: list[list[float]]
) -> None:
    file = tmp_path / "deep.tif"
    Image.fromarray(np.array(values, dtype=np.int32 if mode == "I" else np.float32)).save(file)
    with pytest.raises(DataError, match=rf"deep\.tif: mode {mode} \(TIFF\).*expected 8 bits"):
        read_picture(file)


def test_a_portable_float_map_is_refused_with_mode_and_file(tmp_path: Path) -> None:
    file = tmp_path / "map.pfm"
    Image.fromarray(np.array([[0.0, 0.5]], dtype=np.float32)).save(file)
    with pytest.raises(DataError, match=r"map\.pfm: mode F \(PPM\)"):
        read_picture(file)


def test_one_bit_and_grey_and_colour_are_themselves(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    gray = rng.integers(0, 256, (5, 7), dtype=np.uint8)
    color = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    for name, array in (("grey.png", gray), ("colour.png", color), ("bits.png", gray > 99)):
        Image.fromarray(array).save(tmp_path / name)
    assert gray_of(read_picture(tmp_path / "grey.png")) == gray.tolist()
    assert (read_picture(tmp_path / "colour.png") == color.transpose(2, 0, 1)).all()
    assert gray_of(read_picture(tmp_path / "bits.png")) == (255 * (gray > 99)).tolist()


def test_colours_of_16_bits_keep_their_upper_8(tmp_path: Path) -> None:
    file = tmp_path / "colour.png"
    values = [0x1234, 0xABCD, 0xFFFF, 0x00FF, 0x0100, 0x8000]
    file.write_bytes(png([struct.pack(">6H", *values)], 2, 16, 2))
    assert read_picture(file).transpose(1, 2, 0).ravel().tolist() == [value >> 8 for value in values]


@pytest.mark.parametrize("mode", ["LA", "La", "RGBA", "RGBa", "PA"])
def test_transparency_is_composed_on_white(mode: str) -> None:
    opacity = [0, 1, 100, 254, 255]
    color = [[10, 10, 10], [0, 0, 0], [90, 90, 90], [200, 200, 200], [33, 33, 33]]
    if mode in ("RGBA", "RGBa"):
        color = [[10, 20, 30], [0, 128, 1], [90, 7, 100], [254, 0, 3], [0, 255, 17]]
    premultiplied = mode in ("La", "RGBa")
    if premultiplied:
        color = [[value * a // 255 for value in one] for one, a in zip(color, opacity, strict=True)]
    if mode == "PA":
        image = Image.frombytes("PA", (5, 1), bytes(v for i, a in enumerate(opacity) for v in (i, a)))
        image.putpalette([value for one in color for value in one])
    elif mode in ("LA", "La"):
        pairs = zip(color, opacity, strict=True)
        image = Image.frombytes(mode, (5, 1), bytes(v for one, a in pairs for v in (one[0], a)))
    else:
        pairs = zip(color, opacity, strict=True)
        image = Image.frombytes(mode, (5, 1), bytes(v for one, a in pairs for v in (*one, a)))
    found = np.asarray(to_rgb(image))[0].tolist()
    for one, a, pixel in zip(color, opacity, found, strict=True):
        for value, got in zip(one, pixel, strict=True):
            expected = value + 255 - a if premultiplied else on_white(value, a)
            assert abs(got - expected) <= (1 if premultiplied else 0.5)


def test_a_picture_that_is_opaque_is_what_it_was_without_the_channel(tmp_path: Path) -> None:
    color = np.random.default_rng(1).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    opaque = np.dstack([color, np.full((6, 6), 255, dtype=np.uint8)])
    Image.fromarray(opaque).save(tmp_path / "opaque.png")
    assert (read_picture(tmp_path / "opaque.png") == color.transpose(2, 0, 1)).all()


@pytest.mark.parametrize("name", ["index.png", "table.png", "index.gif"])
def test_a_palette_with_transparency(tmp_path: Path, name: str) -> None:
    """One index that is transparent, or a table of how opaque each is."""
    colors = [(255, 0, 0), (0, 200, 0), (1, 2, 3)]
    image = Image.frombytes("P", (3, 1), bytes([0, 1, 2]))
    image.putpalette([value for color in colors for value in color])
    opacity = [255, 60, 0] if name == "table.png" else [255, 0, 255]
    image.save(tmp_path / name, transparency=bytes(opacity) if name == "table.png" else 1)
    found = read_picture(tmp_path / name).transpose(1, 2, 0)[0]
    for color, a, pixel in zip(colors, opacity, found.tolist(), strict=True):
        assert pixel == [round(on_white(value, a)) for value in color]


def test_a_palette_whose_colours_have_a_channel_of_transparency() -> None:
    image = Image.frombytes("P", (2, 1), bytes([0, 1]))
    image.putpalette([9, 9, 9, 255, 40, 50, 60, 0], "RGBA")
    assert np.asarray(to_rgb(image)).tolist() == [[[9, 9, 9], [255, 255, 255]]]


@pytest.mark.parametrize(
    ("depth", "row", "key", "expected"),
    [
        (1, b"\x40", 1, [0, 255]),
        (2, b"\x1b", 1, [0, 255, 170, 255]),
        (4, b"\x01\x2f", 1, [0, 255, 34, 255]),
        (8, b"\0\1\2\3", 2, [0, 1, 255, 3]),
        (16, struct.pack(">4H", 0, 300, 301, 65535), 300, [0, 255, 1, 255]),
    ],
)
def test_the_transparent_grey_of_a_png_is_of_its_own_depth(
    tmp_path: Path, depth: int, row: bytes, key: int, expected: list[int]
) -> None:
    """Pillow compares the grey with pixels that it has spread or cut to 8 bits."""
    file = tmp_path / "grey.png"
    file.write_bytes(png([row], len(expected), depth, 0, key=struct.pack(">H", key)))
    assert gray_of(read_picture(file)) == [expected]


def test_the_transparent_colour_of_a_png(tmp_path: Path) -> None:
    file = tmp_path / "colour.png"
    file.write_bytes(png([bytes([1, 2, 3, 4, 5, 6])], 2, 8, 2, key=struct.pack(">3H", 1, 2, 3)))
    assert read_picture(file).transpose(1, 2, 0).tolist() == [[[255, 255, 255], [4, 5, 6]]]
    file.write_bytes(png([struct.pack(">3H", 256, 512, 770)], 1, 16, 2, key=struct.pack(">3H", 1, 2, 3)))
    with pytest.raises(DataError, match=r"colour\.png: a transparent color of 16 bits"):
        read_picture(file)


def test_cmyk_is_what_is_left_of_white() -> None:
    styles = [[0, 0, 0, 0], [255, 0, 0, 0], [10, 100, 200, 30], [0, 0, 0, 255]]
    image = Image.frombytes("CMYK", (4, 1), bytes(value for cell_style in styles for value in cell_style))
    for (*color, black), pixel in zip(styles, np.asarray(to_rgb(image))[0].tolist(), strict=True):
        for cell_style, got in zip(color, pixel, strict=True):
            assert abs(got - (255 - cell_style) * (255 - black) / 255) <= 1


def test_ycbcr_is_jpegs() -> None:
    """ITU-R BT.601 in full range, as JFIF has it."""
    triples = [(0, 128, 128), (255, 128, 128), (76, 85, 255), (120, 60, 200)]
    image = Image.frombytes("YCbCr", (4, 1), bytes(value for one in triples for value in one))
    for (y, cb, cr), pixel in zip(triples, np.asarray(to_rgb(image))[0].tolist(), strict=True):
        red, blue = y + 1.402 * (cr - 128), y + 1.772 * (cb - 128)
        green = y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128)
        for got, expected in zip(pixel, (red, green, blue), strict=True):
            assert abs(got - min(255, max(0, expected))) <= 1


def test_hsv_is_the_hexcone() -> None:
    triples = [(0, 255, 255), (85, 255, 255), (170, 255, 128), (20, 100, 200), (0, 0, 77)]
    image = Image.frombytes("HSV", (5, 1), bytes(value for one in triples for value in one))
    for triple, pixel in zip(triples, np.asarray(to_rgb(image))[0].tolist(), strict=True):
        expected = colorsys.hsv_to_rgb(*(value / 255 for value in triple))
        assert all(abs(got - 255 * value) <= 2 for got, value in zip(pixel, expected, strict=True))


def test_lab_is_cielab_under_d50(tmp_path: Path) -> None:
    lab = [(100, 0, 0), (50, 0, 0), (0, 0, 0), (60, 30, -20), (40, -20, 30)]  # L*, a*, b*
    stored = bytes(v for L, a, b in lab for v in (round(L * 255 / 100), a % 256, b % 256))
    image = Image.frombytes("LAB", (5, 1), stored)
    image.save(tmp_path / "lab.tif")
    for picture in (np.asarray(to_rgb(image)), read_picture(tmp_path / "lab.tif").transpose(1, 2, 0)):
        for triple, pixel in zip(lab, picture[0].tolist(), strict=True):
            assert np.abs(np.array(pixel) - srgb_of_lab(*triple)).max() <= 3


def srgb_of_lab(lightness: float, a: float, b: float) -> NDArray[np.float64]:
    """CIELab under D50, adapted to D65 (Bradford), as sRGB from 0 to 255."""
    fy = (lightness + 16) / 116
    f = np.array([fy + a / 500, fy, fy - b / 200])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * [0.9642, 1.0, 0.8249]
    to_linear = np.array(
        [
            [3.1338561, -1.6168667, -0.4906146],
            [-0.9787684, 1.9161415, 0.0334540],
            [0.0719453, -0.2289914, 1.4052427],
        ]
    )
    linear = np.clip(to_linear @ xyz, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def test_every_mode_is_read_or_refused() -> None:
    """A mode that Pillow may come to know is refused, not converted in whatever way it has."""
    for mode in ("I", "F", *SIXTEEN_BITS):
        with pytest.raises(DataError, match=f"mode {mode} "):
            to_rgb(Image.new(mode, (2, 2)))
    for mode in EIGHT_BITS:
        assert to_rgb(Image.new(mode, (2, 2))).mode == "RGB"
    known = {*Image.MODES, "La", "RGBa", "RGBX", "PA", "I;16N"}
    assert known <= {*EIGHT_BITS, *SIXTEEN_BITS, "I", "F"}


def test_orientation_is_applied(tmp_path: Path) -> None:
    upright = np.arange(18, dtype=np.uint8).reshape(2, 3, 3) * 10
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.transpose(1, 0, 2),
        6: np.rot90(upright), 7: np.rot90(upright, 2).transpose(1, 0, 2), 8: np.rot90(upright, -1),
    }  # fmt: skip
    for suffix in ("png", "tif"):
        for orientation, pixels in stored.items():
            exif = Image.Exif()
            exif[274] = orientation
            file = tmp_path / f"{orientation}.{suffix}"
            Image.fromarray(np.ascontiguousarray(pixels)).save(file, exif=exif)
            assert (read_picture(file) == upright.transpose(2, 0, 1)).all(), (suffix, orientation)


def test_the_first_frame_of_an_animation_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), (value, 0, 0)) for value in (255, 10, 20)]
    for suffix in ("gif", "png", "tif", "webp"):
        file = tmp_path / f"frames.{suffix}"
        options = {"lossless": True} if suffix == "webp" else {}
        frames[0].save(file, save_all=True, append_images=frames[1:], **options)
        assert (read_picture(file)[0] == 255).all(), suffix


def test_postscript_is_no_picture_whatever_its_name(tmp_path: Path) -> None:
    """It is a program, which Pillow would have Ghostscript run."""
    file = tmp_path / "picture.png"
    Image.new("RGB", (4, 4)).save(file, "EPS")
    with pytest.raises(DataError, match=r"picture\.png: not a readable image"):
        read_picture(file)
    assert not {".eps", ".ps", ".pdf", ".h5", ".mpg"} & suffixes()


def test_a_pipe_is_no_picture(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match=r"pipe\.png: .*not a plain file"):
        read_picture(tmp_path / "pipe.png")
