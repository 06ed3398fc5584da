"""Small data sets, made when a test needs one."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Files = dict[str, bytes]


def pixels(seed: int, height: int = 8, width: int = 8) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def encode(array: NDArray[np.uint8], kind: str = "PNG", mode: str = "RGB", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def data_set(classes: tuple[str, ...] = ("FAKE", "REAL"), train: int = 6, test: int = 3, kind: str = "PNG") -> Files:
    """Different images, `train` and `test` of them a class; names as CIFAKE's: 0.png, 0 (2).png, 1.png …"""
    files, seed = {}, 0
    for split, count in (("train", train), ("test", test)):
        for name in classes:
            for number in range(count):
                suffix = " (2)" if number % 2 else ""
                files[f"{split}/{name}/{number // 2}{suffix}.{kind.lower()}"] = encode(pixels(seed), kind)
                seed += 1
    return files


def write_folder(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def write_zip(path: Path, files: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path
