"""Decode image files to uint8 pixels: JPEG with libjpeg-turbo (simplejpeg), all other formats with Pillow.

With its defaults (accurate DCT, smooth chroma upsampling), libjpeg-turbo decodes to exactly the same pixels as Pillow
in a tenth of the time. A test verifies this for CIFAKE.
"""

import io
from dataclasses import dataclass
from importlib.metadata import version
from typing import NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from tuner.data.source import DamagedFileError
from tuner.errors import PreemptedError

MAX_PIXELS = 1 << 25
"""Maximum number of pixels of an image (about 5,792 x 5,792), checked in its header before memory is allocated."""

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM", "GIF", "TIFF")  # those that Pillow decodes on its own
SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")  # Pillow would clip their values instead of scaling them
_CONVERTIBLE = ("1", "L", "LA", "P", "PA", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "La", "RGBa")
_JPEG_MODES = {"YCbCr": "RGB", "RGB": "RGB", "Gray": "L", "CMYK": "CMYK", "YCCK": "CMYK"}

Image.MAX_IMAGE_PIXELS = None  # MAX_PIXELS replaces Pillow's limit, which only warns at first


@dataclass(frozen=True)
class Conversion:
    """Conversions of images that the user requested."""

    resize: tuple[int, int] | None = None
    """Height and width to which all images are resized."""
    convert: bool = False
    """Whether greyscale, palette, transparent and CMYK images are converted to RGB."""
    squeeze: bool = False
    """Whether 16-bit greyscale images are converted to 8-bit RGB, which suits prediction but not training."""


_AS_IT_IS = Conversion()


class ImageHeader(NamedTuple):
    """Size and mode from an image's header."""

    height: int
    width: int
    mode: str
    """Pillow's name of the mode, such as RGB, L, RGBA, P or CMYK."""


def decoder() -> str:
    """Return the names and versions of the libraries that decode images."""
    return f"simplejpeg {version('simplejpeg')} (JPEG), Pillow {version('pillow')} (other formats, conversions)"


def read_header(data: bytes) -> ImageHeader:
    """Return size and mode from the header. Raises DamagedFileError if `data` is not an image or is too large."""
    if data[:3] == b"\xff\xd8\xff":
        try:
            height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
            header = ImageHeader(height, width, _JPEG_MODES.get(colours, colours))
        except ValueError:
            header = _read_header_with_pillow(data)  # Pillow supports unusual chroma subsamplings
    else:
        header = _read_header_with_pillow(data)
    if header.height * header.width > MAX_PIXELS:
        raise DamagedFileError(
            f"claims {header.width} x {header.height} pixels, but the maximum is {MAX_PIXELS:,} pixels"
        )
    return header


def format_of(data: bytes) -> str:
    """Return Pillow's name of the file's format, such as JPEG. Raises DamagedFileError if `data` is not an image."""
    if data[:3] == b"\xff\xd8\xff":
        return "JPEG"
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            return str(image.format)
    except PreemptedError:
        raise
    except Exception:
        raise DamagedFileError(f"is not an image in a supported format ({_begin(data)})") from None


def decode(data: bytes, conversion: Conversion = _AS_IT_IS) -> NDArray[np.uint8]:
    """Return the pixels, (height, width, 3) uint8.

    Raises DamagedFileError if the image is damaged, or if it is not RGB and `conversion` does not allow to convert it.
    """
    header = read_header(data)
    squeezed = conversion.squeeze and header.mode in SIXTEEN_BITS
    if header.mode != "RGB" and not squeezed and not (conversion.convert and header.mode in _CONVERTIBLE):
        raise DamagedFileError(f"has mode {header.mode} instead of RGB")
    is_jpeg = data[:3] == b"\xff\xd8\xff"
    pixels = _decode_jpeg(data) if is_jpeg and header.mode == "RGB" else _decode_with_pillow(data)
    if conversion.resize is not None and pixels.shape[:2] != conversion.resize:
        height, width = conversion.resize
        resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS)
        pixels = np.asarray(resized)
    return pixels


def decode_into(data: bytes, pixels: NDArray[np.uint8], conversion: Conversion) -> None:
    """Decode an image, which `read_header` has accepted, into `pixels` (height, width, 3). Raises DamagedFileError."""
    if data[:3] == b"\xff\xd8\xff" and conversion == _AS_IT_IS:
        try:
            simplejpeg.decode_jpeg(data, "RGB", False, False, buffer=pixels)
            return
        except ValueError:
            pass  # the slower path below decodes the image or finds the cause
    image = decode(data, conversion)
    if image.shape != pixels.shape:
        raise DamagedFileError(f"has the shape {image.shape} instead of {pixels.shape}")
    pixels[...] = image


def is_convertible(mode: str) -> bool:
    """Return whether `decode` can turn images of this mode into RGB."""
    return mode in _CONVERTIBLE


def _decode_jpeg(data: bytes) -> NDArray[np.uint8]:
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False)
    except ValueError as error:
        if "subsampling" in str(error):
            return _decode_with_pillow(data)
        raise DamagedFileError(f"is a damaged JPEG ({error})") from None
    return pixels


def _read_header_with_pillow(data: bytes) -> ImageHeader:
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            return ImageHeader(image.height, image.width, image.mode)
    except PreemptedError:  # raised by the signal handler, which may run during Pillow's code
        raise
    except Exception:  # Pillow's plugins raise errors of any type if the data are invalid
        raise DamagedFileError(f"is not an image in a supported format ({_begin(data)})") from None


def _decode_with_pillow(data: bytes) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            return np.asarray((_in_8_bits(image) if image.mode in SIXTEEN_BITS else image).convert("RGB"))
    except PreemptedError:
        raise
    except Exception as error:
        raise DamagedFileError(f"is a damaged image ({error})") from None


def _in_8_bits(image: Image.Image) -> Image.Image:
    """Return a 16-bit greyscale image scaled to 8 bits, so that 65,535 becomes 255."""
    return Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8))


def _begin(data: bytes) -> str:
    return f"its first bytes are {data[:12]!r}" if data else "the file is empty"
