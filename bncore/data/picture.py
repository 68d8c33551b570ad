"""One image file as 8-bit RGB: the first frame that Pillow reads, upright, on a white background.

8-bit images go through Pillow's own conversion to RGB; 16-bit colors keep their upper 8 bits, as Pillow reads
them. Gray values of more than 8 bits are scaled, which Pillow's plain conversion does not do. Color profiles are
not applied. Images without a known range of values (32-bit integers, floating point) are refused.
"""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, TiffImagePlugin

from bncore.data.arrays import DataError
from bncore.plain_files import open_plain

DECODING = 2
"""Version of the decoding, part of the cache key: increased whenever some file decodes to different pixels."""

BACKGROUND = 255
"""Gray value of the background behind transparent pixels."""

NOT_DECODED = frozenset({"EPS", "WMF", "MPEG", "BUFR", "GRIB", "HDF5"})
"""Formats that Pillow identifies but does not decode itself: Ghostscript, Windows or nothing does."""

EIGHT_BITS = frozenset(
    {"1", "L", "P", "PA", "LA", "La", "RGB", "RGBX", "RGBA", "RGBa", "CMYK", "YCbCr", "LAB", "HSV"}
)
SIXTEEN_BITS = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
TRANSPARENT = frozenset({"PA", "LA", "RGBA", "RGBa"})

_KNOWN_RANGE = frozenset({"PNG", "PPM", "TIFF", "JPEG2000"})
"""Formats whose 16-bit gray values are known to start at 0 and to have a known maximum."""
_BITS, _PHOTOMETRIC, _ORIENTATION = 258, 262, 274  # TIFF tags; the last is also an EXIF tag
_KEY_SCALE = {"L;2": 85, "L;4": 17}
"""Scale of a PNG's transparent gray value: Pillow spreads pixels of few bits over 0 to 255, but not that value."""
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Transposition that makes an image upright, by EXIF orientation."""

Pixels = NDArray[np.uint8]


@cache
def formats() -> tuple[str, ...]:
    """The supported formats, in the order in which they are tried: common ones first."""
    Image.preinit()
    Image.init()
    return tuple(name for name in Image.ID if name not in NOT_DECODED)


@cache
def suffixes() -> frozenset[str]:
    """The suffixes of image files, in lower case."""
    read = {*formats(), "MPO"}  # MPO is opened by the JPEG reader
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in read)


def read_picture(file: Path, image_size: int | None = None) -> Pixels:
    """One image, (3, height, width); with `image_size`, its `center_square`.

    Raises:
        DataError: the file is damaged, or its values have no known range.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about tags that do not matter here
            with open_plain(file) as stream, Image.open(stream, formats=formats()) as image:
                rgb = _upright_rgb(image)
                if image_size is not None:
                    rgb = center_square(rgb, image_size)
                return np.ascontiguousarray(np.asarray(rgb).transpose(2, 0, 1))
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    except Exception as error:  # decoders raise almost anything on a damaged file
        raise DataError(
            f"{file}: not a readable image ({error or type(error).__name__}); expected a whole file of a format "
            "that Pillow reads, such as PNG or JPEG"
        ) from error


def _upright_rgb(image: Image.Image) -> Image.Image:
    key_scale = _key_scale(image)
    largest, inverted = _sixteen_bit_range(image)
    image.load()
    if largest:
        rgb = _of_sixteen_bits(image, largest, inverted=inverted)
    else:
        if key_scale != 1:
            image.info["transparency"] *= key_scale
        rgb = to_rgb(image)
    turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    return rgb if turn is None else rgb.transpose(turn)


def center_square(image: Image.Image, side: int) -> Image.Image:
    """The center square of `image` after resizing its shorter side to `side` pixels (bilinear, antialiased).

    Equals torchvision's Resize followed by CenterCrop.
    """
    width, height = image.size
    shorter = min(width, height)
    if shorter != side:
        width, height = (int(side * length / shorter) for length in (width, height))
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - side) / 2), round((height - side) / 2)
    return image.crop((left, top, left + side, top + side))


def to_rgb(image: Image.Image) -> Image.Image:
    """An image of 8 bits per channel as RGB; transparent pixels are composed on the background.

    Raises:
        DataError: the image has another mode.
    """
    if image.mode not in EIGHT_BITS:
        raise _refused(image)
    if image.mode == "La":
        image = image.convert("LA")
    palette = image.palette.mode if image.mode == "P" and image.palette is not None else ""
    if image.mode not in TRANSPARENT and "transparency" not in image.info and palette != "RGBA":
        return image.convert("RGB")
    pixels = np.asarray(image.convert("RGBA")).astype(np.int32)
    color, opacity = pixels[..., :3], pixels[..., 3:]
    composed = (color * opacity + BACKGROUND * (255 - opacity) + 127) // 255
    return Image.fromarray(composed.astype(np.uint8))


def _of_sixteen_bits(image: Image.Image, largest: int, *, inverted: bool) -> Image.Image:
    """Gray values from 0 to `largest`, scaled to 0 to 255 and rounded."""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > largest:
        raise _refused(image)
    gray = (values * 255 + largest // 2) // largest
    if inverted:
        gray = 255 - gray
    if "transparency" in image.info:
        gray[values == image.info["transparency"]] = BACKGROUND
    return Image.fromarray(gray.astype(np.uint8)).convert("RGB")


def _sixteen_bit_range(image: Image.Image) -> tuple[int, bool]:
    """The largest possible gray value, and whether it means black; (0, False) for 8 bits per channel.

    Raises:
        DataError: the range is unknown.
    """
    wide = image.mode in SIXTEEN_BITS
    if not wide and image.mode != "I":
        return 0, False
    if image.format not in _KNOWN_RANGE:
        raise _refused(image)
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 65535, False  # older releases of Pillow open these in mode I
    if not wide:
        raise _refused(image)
    bits = image.tag_v2.get(_BITS, (16,))[0]
    return 2**bits - 1, image.tag_v2.get(_PHOTOMETRIC) == 0


def _key_scale(image: Image.Image) -> int:
    """The factor by which the transparent gray value must be multiplied.

    Raises:
        DataError: the transparent color has 16 bits per channel, whose lower 8 bits are not read.
    """
    layout = image.tile[0][3] if isinstance(image, PngImagePlugin.PngImageFile) and image.tile else None
    if "transparency" not in image.info or not isinstance(layout, str):
        return 1
    if layout == "RGB;16B":
        raise DataError("a transparent color of 16 bits per channel; expected 8 bits, or an alpha channel")
    return _KEY_SCALE.get(layout, 1)


def _refused(image: Image.Image) -> DataError:
    name = image.format or "image"
    return DataError(
        f"mode {image.mode} ({name}), whose values have no known range; expected 8 bits a channel, or 16 bits of "
        "grey from 0 to 65535"
    )
