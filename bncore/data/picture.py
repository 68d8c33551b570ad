"""One picture file as 8-bit RGB: what Pillow reads, its first frame, upright, on a white background.

Values of 8 bits are Pillow's own conversion to RGB; colours of 16 bits keep their upper 8, as Pillow reads them.
Grey values of more than 8 bits are scaled, which Pillow's bare conversion does not do. Colour profiles are not
applied. What has no range (32-bit integers, floating point) is refused.
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
"""Another number whenever some file decodes to other pixels than before: part of the key of the cache."""

BACKGROUND = 255
"""The grey that transparent pixels are composed on."""

NOT_DECODED = frozenset({"EPS", "WMF", "MPEG", "BUFR", "GRIB", "HDF5"})
"""Formats that Pillow names and does not decode itself: Ghostscript, Windows or nothing does."""

EIGHT_BITS = frozenset(
    {"1", "L", "P", "PA", "LA", "La", "RGB", "RGBX", "RGBA", "RGBa", "CMYK", "YCbCr", "LAB", "HSV"}
)
SIXTEEN_BITS = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
TRANSPARENT = frozenset({"PA", "LA", "RGBA", "RGBa"})

_KNOWN_RANGE = frozenset({"PNG", "PPM", "TIFF", "JPEG2000"})
"""Formats whose grey values of 16 bits are known to begin at 0 and to have a largest one."""
_BITS, _PHOTOMETRIC, _ORIENTATION = 258, 262, 274  # TIFF tags, the last one EXIF's too
_KEY_SCALE = {"L;2": 85, "L;4": 17}
"""Pixels of few bits are spread over 0 to 255 when a PNG is read; the grey that is transparent is not."""
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture of each EXIF orientation upright."""

Pixels = NDArray[np.uint8]


@cache
def formats() -> tuple[str, ...]:
    """The formats that are read, in the order in which they are tried: the usual ones first."""
    Image.preinit()
    Image.init()
    return tuple(name for name in Image.ID if name not in NOT_DECODED)


@cache
def suffixes() -> frozenset[str]:
    """The suffixes of picture files, in lower case."""
    read = {*formats(), "MPO"}  # which the reader of JPEG opens
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in read)


def read_picture(file: Path, image_size: int | None = None) -> Pixels:
    """One picture, (3, height, width); with an `image_size` as `center_square` has it.

    Raises:
        DataError: it is damaged, or its values have no known range.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tags that do not matter here
            with open_plain(file) as stream, Image.open(stream, formats=formats()) as image:
                rgb = _upright_rgb(image)
                if image_size is not None:
                    rgb = center_square(rgb, image_size)
                return np.ascontiguousarray(np.asarray(rgb).transpose(2, 0, 1))
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    except Exception as error:  # decoders raise nearly anything on a damaged file
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
    """The square in the centre of `image`, resized so that its shorter side has `side` pixels, bilinear and
    antialiased: torchvision's Resize and CenterCrop."""
    width, height = image.size
    shorter = min(width, height)
    if shorter != side:
        width, height = (int(side * length / shorter) for length in (width, height))
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - side) / 2), round((height - side) / 2)
    return image.crop((left, top, left + side, top + side))


def to_rgb(image: Image.Image) -> Image.Image:
    """An image of 8 bits a channel as RGB, composed on the background where it is transparent.

    Raises:
        DataError: the mode is another one.
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
    """Grey values from 0 to `largest` scaled to 0 to 255 and rounded."""
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
    """The largest grey value there may be, and whether it is black; (0, False) where a channel has 8 bits.

    Raises:
        DataError: the range is not known.
    """
    wide = image.mode in SIXTEEN_BITS
    if not wide and image.mode != "I":
        return 0, False
    if image.format not in _KNOWN_RANGE:
        raise _refused(image)
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 65535, False  # older releases of Pillow open these as I
    if not wide:
        raise _refused(image)
    bits = image.tag_v2.get(_BITS, (16,))[0]
    return 2**bits - 1, image.tag_v2.get(_PHOTOMETRIC) == 0


def _key_scale(image: Image.Image) -> int:
    """What the transparent grey is to be multiplied by.

    Raises:
        DataError: it is a colour of 16 bits, whose lower halves are not read.
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
