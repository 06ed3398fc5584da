"""Decode image files to uint8 pixels: JPEG with libjpeg-turbo (simplejpeg), all other formats with Pillow.

With its defaults (accurate DCT, smooth chroma upsampling), libjpeg-turbo decodes to exactly the same pixels as Pillow
in a tenth of the time. A test verifies this for CIFAKE.
"""

import io
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from typing import NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from tuner.data.image_formats import begin_of, explain_unsupported
from tuner.data.source import DamagedFileError
from tuner.errors import PreemptedError

MAX_PIXELS = 1 << 28
"""Maximum number of pixels of an image (16,384 x 16,384), checked in its header before memory is allocated. It is above
the 200 megapixels of the largest cameras of phones."""

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM", "GIF", "TIFF", "AVIF")  # those that Pillow decodes on its own
SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")  # Pillow would clip their values instead of scaling them
_CONVERTIBLE = ("1", "L", "LA", "P", "PA", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "La", "RGBa", *SIXTEEN_BITS)
_JPEG_MODES = {"YCbCr": "RGB", "RGB": "RGB", "Gray": "L", "CMYK": "CMYK", "YCCK": "CMYK"}
_JPEG = b"\xff\xd8\xff"
_ORIENTATION = 0x0112
_SIDEWAYS = (5, 6, 7, 8)  # orientations that swap height and width
_METADATA_BYTES = 1 << 18  # of a JPEG, which has its metadata in front
_EXIF, _XMP = b"Exif\0\0", b"tiff:Orientation"
_METADATA = (_EXIF, _XMP, b"eXIf", b"EXIF", b"Raw profile type", b"irot", b"imir")

Image.MAX_IMAGE_PIXELS = None  # MAX_PIXELS replaces Pillow's limit, which only warns at first


@dataclass(frozen=True)
class Conversion:
    """Conversions of images that the user requested."""

    resize: tuple[int, int] | None = None
    """Height and width to which all images are resized."""
    convert: bool = False
    """Whether greyscale, palette, transparent and CMYK images are converted to RGB. 16-bit greyscale is scaled to 8."""


_AS_IT_IS = Conversion()


class ImageHeader(NamedTuple):
    """Size and mode from an image's header."""

    height: int
    width: int
    """Height and width of the upright image."""
    mode: str
    """Pillow's name of the mode, such as RGB, L, RGBA, P or CMYK."""


class Traits(NamedTuple):
    """What a user should know of an image, because its pixels are not those that the file stores first."""

    is_turned: bool = False
    """Whether the image is rotated or mirrored, as its EXIF orientation says."""
    has_frames: bool = False
    """Whether the file has further frames or pages, which are not used."""
    is_cut: bool = False
    """Whether Pillow drops the lower half of 16 bits. It does so for colours, and names the mode RGB or RGBA."""


class Examined(NamedTuple):
    """What is known of an image that is not decoded."""

    header: ImageHeader
    traits: Traits


def decoder() -> str:
    """Return the names and versions of the libraries that decode images."""
    return f"simplejpeg {version('simplejpeg')} (JPEG), Pillow {version('pillow')} (other formats, conversions)"


def read_header(data: bytes) -> ImageHeader:
    """Return size and mode from the header. Raises DamagedFileError if `data` is not an image or is too large."""
    return _upright_header(data, orientation(data))


def examine(data: bytes) -> Examined:
    """Return the header and the traits of an image. Raises DamagedFileError as `read_header` does."""
    turned = orientation(data)
    return Examined(_upright_header(data, turned), _traits(data, turned))


def _upright_header(data: bytes, turned: int) -> ImageHeader:
    header = _stored_header(data)
    return ImageHeader(header.width, header.height, header.mode) if turned in _SIDEWAYS else header


def _stored_header(data: bytes) -> ImageHeader:
    """Return the header of the image as it is stored, before its orientation is applied."""
    if data.startswith(_JPEG):
        try:
            height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
            header = ImageHeader(height, width, _JPEG_MODES.get(colours, colours))
        except ValueError:
            header = _read_header_with_pillow(data)  # Pillow supports unusual chroma subsamplings
    else:
        header = _read_header_with_pillow(data)
    if header.height * header.width > MAX_PIXELS:
        raise DamagedFileError(
            f"claims {header.height} x {header.width} pixels, but the maximum is {MAX_PIXELS:,} pixels"
        )
    return header


def _traits(data: bytes, turned: int) -> Traits:
    """Return the traits of an image whose header can be read, and whose orientation is `turned`."""
    if data.startswith(_JPEG):
        return Traits(is_turned=turned > 1)
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            frames, is_cut = getattr(image, "n_frames", 1), _is_cut(image)
    except PreemptedError:
        raise
    except Exception:  # decoding the image finds the damage
        frames, is_cut = 1, False
    return Traits(turned > 1, frames > 1, is_cut)


def _is_cut(image: Image.Image) -> bool:
    """Return whether Pillow returns 8 bits of samples that have 16. Their raw mode is, for example, RGB;16B."""
    if image.format not in ("PNG", "TIFF") or image.mode in SIXTEEN_BITS:
        return False
    return any(";16" in str(tile) for tile in image.tile)  # type: ignore[attr-defined]


def orientation(data: bytes) -> int:
    """Return the EXIF orientation that decoding has to apply, from 1 (upright) to 8."""
    if not _has_metadata(data):
        return 1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about damaged metadata
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                if image.format == "TIFF":  # Pillow applies it when it loads the image
                    return 1
                found = image.getexif().get(_ORIENTATION, 1)
    except PreemptedError:
        raise
    except Exception:  # metadata may be damaged; the pixels are what counts
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _has_metadata(data: bytes) -> bool:
    """Return quickly whether Pillow may find an orientation. CIFAKE has 120,000 images without one."""
    if data.startswith(_JPEG):
        front = data[:_METADATA_BYTES]
        return _EXIF in front or _XMP in front
    return any(mark in data for mark in _METADATA)


def format_of(data: bytes) -> str:
    """Return Pillow's name of the file's format, such as JPEG. Raises DamagedFileError if `data` is not an image."""
    if data.startswith(_JPEG):
        return "JPEG"
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            return str(image.format)
    except PreemptedError:
        raise
    except Exception:
        raise _not_an_image(data) from None


def decode(data: bytes, conversion: Conversion = _AS_IT_IS) -> NDArray[np.uint8]:
    """Return the pixels of the upright image, (height, width, 3) uint8.

    Raises DamagedFileError if the image is damaged, or if it is not RGB and `conversion` does not allow to convert it.
    """
    mode = _stored_header(data).mode
    if mode != "RGB" and not (conversion.convert and mode in _CONVERTIBLE):
        raise DamagedFileError(f"has mode {mode} instead of RGB")
    stored = _decode_jpeg(data) if data.startswith(_JPEG) and mode == "RGB" else _decode_with_pillow(data)
    pixels = _upright(stored, orientation(data))
    if conversion.resize is not None and pixels.shape[:2] != conversion.resize:
        height, width = conversion.resize
        resized = Image.fromarray(np.ascontiguousarray(pixels)).resize((width, height), Image.Resampling.LANCZOS)
        pixels = np.asarray(resized)
    return pixels


def decode_into(data: bytes, pixels: NDArray[np.uint8], conversion: Conversion) -> None:
    """Decode an image, which `read_header` has accepted, into `pixels` (height, width, 3). Raises DamagedFileError."""
    if data.startswith(_JPEG) and conversion == _AS_IT_IS and orientation(data) == 1:
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
        raise _not_an_image(data) from None


def _upright(pixels: NDArray[np.uint8], value: int) -> NDArray[np.uint8]:
    """Return a view of the pixels that is turned as an EXIF orientation says. Pillow would copy a large photo often."""
    turned = pixels.swapaxes(0, 1) if value in _SIDEWAYS else pixels
    rows, columns = (-1 if value in flipped else 1 for flipped in ((3, 4, 7, 8), (2, 3, 6, 7)))
    return turned[::rows, ::columns]


def _decode_with_pillow(data: bytes) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            pixels = _in_8_bits(image) if image.mode in SIXTEEN_BITS else image
            return np.asarray(pixels if pixels.mode == "RGB" else pixels.convert("RGB"))
    except PreemptedError:
        raise
    except Exception as error:
        raise DamagedFileError(f"is a damaged image ({error})") from None


def _in_8_bits(image: Image.Image) -> Image.Image:
    """Return a 16-bit greyscale image scaled to 8 bits, so that 65,535 becomes 255."""
    return Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8))


def _not_an_image(data: bytes) -> DamagedFileError:
    if data.startswith(_JPEG):
        return DamagedFileError("is a damaged JPEG, which is probably cut short")
    return DamagedFileError(explain_unsupported(data) or f"is not an image in a supported format ({begin_of(data)})")
