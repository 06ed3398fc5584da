"""Pixels are Pillow's, bit for bit."""

import io
import signal
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tests.data.images import data_set, encode, pixels, write_folder
from tuner.data import decode as decode_module
from tuner.data.check import check
from tuner.data.decode import (
    MAX_PIXELS,
    Conversion,
    ImageHeader,
    Traits,
    decode,
    decode_into,
    decoder,
    examine,
    orientation,
    read_header,
)
from tuner.data.source import DamagedFileError
from tuner.errors import PreemptedError


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (17, 31), (1, 1)])
@pytest.mark.parametrize("quality", [30, 75, 95])
def test_jpeg_pixels_are_pillows(subsampling: int, height: int, width: int, quality: int) -> None:
    jpeg = encode(pixels(1, height, width), "JPEG", subsampling=subsampling, quality=quality)
    assert read_header(jpeg) == (height, width, "RGB")
    expected = np.asarray(Image.open(io.BytesIO(jpeg)))
    np.testing.assert_array_equal(decode(jpeg), expected)
    into = np.zeros((height, width, 3), np.uint8)
    decode_into(jpeg, into, Conversion())
    np.testing.assert_array_equal(into, expected)


def test_a_progressive_jpeg_is_read() -> None:
    jpeg = encode(pixels(1, 40, 40), "JPEG", progressive=1)
    np.testing.assert_array_equal(decode(jpeg), np.asarray(Image.open(io.BytesIO(jpeg))))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WEBP"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9])
def test_a_cut_image_is_damaged(kind: str, kept: float) -> None:
    data = encode(pixels(1, 64, 64), kind)
    with pytest.raises(DamagedFileError):
        decode(data[: int(len(data) * kept)], Conversion(convert=True))


def test_the_decoder_is_named_with_its_version() -> None:
    assert "simplejpeg " in decoder()
    assert any(character.isdigit() for character in decoder())


@pytest.mark.parametrize("mode", ["I", "F"])
def test_more_than_16_bits_a_channel_are_not_squeezed_into_8(mode: str) -> None:
    stream = io.BytesIO()
    Image.new(mode, (4, 4)).save(stream, "TIFF")
    with pytest.raises(DamagedFileError, match="mode"):
        decode(stream.getvalue(), Conversion(convert=True))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bits_are_scaled_to_8_if_converted(kind: str) -> None:
    values = np.array([[0, 128, 129], [257, 32_896, 65_535]], np.uint16)
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, kind)
    with pytest.raises(DamagedFileError, match="mode I;16 instead of RGB"):
        decode(stream.getvalue())
    scaled = np.array([[0, 0, 1], [1, 128, 255]], np.uint8)
    np.testing.assert_array_equal(decode(stream.getvalue(), Conversion(convert=True)), scaled[..., None].repeat(3, 2))


def png_of_16_bits(colours: int, values: NDArray[np.uint16]) -> bytes:
    """A PNG, which Pillow cannot write: colour type 2 is RGB, 6 RGBA."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colours, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_16_bits_of_colours_are_noticed(tmp_path: Path) -> None:
    """Pillow names their mode RGB, and drops the lower half."""
    values = np.full((8, 8, 3), 0x12FF, np.uint16)
    assert (decode(png_of_16_bits(2, values)) == 0x12).all()
    assert examine(png_of_16_bits(2, values)).traits.is_cut
    assert examine(png_of_16_bits(6, np.full((8, 8, 4), 0x12FF, np.uint16))).traits.is_cut
    assert not any(examine(encode(pixels(1))).traits)
    source = write_folder(tmp_path / "source", data_set() | {"train/REAL/9.png": png_of_16_bits(2, values)})
    (note,) = check(str(source)).notes
    assert note.startswith("1 image of 16 bits per channel is reduced to 8 bits")
    assert "train/REAL/9.png" in note


def exif(value: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = value
    return tags.tobytes()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_orientation_of_an_image_is_looked_up_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (48, 32)).save(stream, kind, exif=exif(6))
    looked_up: list[bytes] = []

    def counted(data: bytes) -> int:
        looked_up.append(data)
        return orientation(data)

    monkeypatch.setattr(decode_module, "orientation", counted)
    assert examine(stream.getvalue()) == (ImageHeader(48, 32, "RGB"), Traits(is_turned=True))
    assert len(looked_up) == 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("value", [1, 2, 3, 4, 5, 6, 7, 8])
def test_an_image_is_upright_as_its_exif_orientation_says(kind: str, value: int) -> None:
    """The upper left quarter of the stored image is bright. Each orientation moves it to the place it belongs to."""
    stored = np.zeros((32, 48, 3), np.uint8)
    stored[:16, :24] = 200
    stream = io.BytesIO()
    Image.fromarray(stored).save(stream, kind, exif=exif(value))
    with Image.open(io.BytesIO(stream.getvalue())) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    data = stream.getvalue()
    upright = decode(data)
    assert upright.shape == ((48, 32, 3) if value > 4 else (32, 48, 3))
    assert read_header(data) == (*upright.shape[:2], "RGB")
    np.testing.assert_array_equal(upright, expected)
    corner = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}[value]
    height, width = (size // 2 for size in upright.shape[:2])
    bright = [
        (row, column)
        for row in (0, 1)
        for column in (0, 1)
        if upright[row * height : (row + 1) * height, column * width : (column + 1) * width].mean() > 100
    ]
    assert bright == [corner]
    into = np.zeros(upright.shape, np.uint8)
    decode_into(data, into, Conversion())
    np.testing.assert_array_equal(into, expected)


def test_damaged_metadata_leave_the_pixels_as_they_are() -> None:
    jpeg = encode(pixels(1, 32, 48), "JPEG")
    odd = jpeg[:2] + b"\xff\xe1\x00\x10Exif\0\0II*\0\xff\xff\xff\xff" + jpeg[2:]
    np.testing.assert_array_equal(decode(odd), decode(jpeg))
    assert examine(odd).traits == (False, False, False)


def test_images_of_several_frames_are_known() -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "green", "blue")]
    for kind in ("GIF", "TIFF", "WEBP", "PNG"):
        stream = io.BytesIO()
        frames[0].save(stream, kind, save_all=True, append_images=frames[1:])
        assert examine(stream.getvalue()).traits == (False, True, False), kind
        red, *others = decode(stream.getvalue(), Conversion(convert=True))[0, 0].tolist()
        assert (red > 200, max(others) < 20) == (True, True), kind


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0", "is a HEIC photo"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "is a damaged JPEG"),
    ],
)
def test_a_format_that_is_not_decoded_is_named_with_what_to_do(data: bytes, says: str) -> None:
    with pytest.raises(DamagedFileError, match=says):
        decode(data)


def test_a_photo_of_200_megapixels_is_within_the_limit() -> None:
    assert MAX_PIXELS > 200_000_000


@pytest.mark.parametrize("read", [read_header, decode])
def test_a_signal_in_the_midst_of_an_image_ends_the_command_and_is_not_taken_for_damage(
    read: Callable[[bytes], Any],
) -> None:
    def end(*_: object) -> NoReturn:
        raise PreemptedError("asked to stop.")

    def read_on_and_on() -> NoReturn:
        while True:
            read(image)

    image = encode(pixels(1, 400, 400), "PNG")
    previous_handler = signal.signal(signal.SIGALRM, end)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(PreemptedError):
            read_on_and_on()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous_handler)
