"""Pixels are Pillow's, bit for bit."""

import io
import signal
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
import pytest
from PIL import Image

from tests.data.images import encode, pixels
from tuner.data.decode import Conversion, decode, decode_into, decoder, read_header
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


@pytest.mark.parametrize("mode", ["I;16", "F"])
def test_more_than_8_bits_a_channel_are_not_squeezed_into_8(mode: str) -> None:
    stream = io.BytesIO()
    Image.new(mode, (4, 4)).save(stream, "TIFF")
    with pytest.raises(DamagedFileError, match="mode"):
        decode(stream.getvalue(), Conversion(convert=True))


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
