"""Which files are images: by their names, and by their first bytes if they cannot be decoded."""

from collections.abc import Callable, Iterable

_DECODED = "jpg jpeg jpe jfif png apng webp bmp dib ppm pgm pbm pnm gif tif tiff avif avifs"
_RAW = "dng cr2 cr3 crw nef nrw arw srf sr2 orf raf rw2 pef srw x3f 3fr iiq"
_OTHER_IMAGES = "heic heif hif jxl jp2 j2k jpf"
_OTHERS = (
    "txt md rst csv tsv json jsonl xml yaml yml toml html htm pdf doc docx xls xlsx rtf py ipynb zip tar gz tgz 7z rar "
    "npy npz pkl h5 hdf5 mat log ini cfg url lnk sh bat mp4 avi mov mkv mp3 wav"
)
_CAMERA_RAW = frozenset(_RAW.split())
_IMAGES = _CAMERA_RAW.union(_DECODED.split(), _OTHER_IMAGES.split())
_NO_IMAGES = frozenset(_OTHERS.split())

CAMERA_RAW = "is a camera's raw file, which is not supported. Convert it to JPEG or PNG"
"""Why a camera's raw file is refused."""

_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_JXL = (b"\xff\x0a", b"\0\0\0\x0cJXL ")
_JPEG_2000 = (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")


def suffix_of(path: str) -> str:
    """Return the suffix of a file's name, without the dot and in lower case; "" if it has none."""
    _, dot, suffix = path.rpartition("/")[2].rpartition(".")
    return suffix.lower() if dot else ""


def is_named_as_image(path: str) -> bool:
    """Return whether a file has an image's suffix, even if the format is not supported."""
    return suffix_of(path) in _IMAGES


def may_be_image(path: str) -> bool:
    """Return whether a file's suffix is not that of something else. In some data sets, images have no suffix."""
    return suffix_of(path) not in _NO_IMAGES


def image_test(paths: Iterable[str]) -> Callable[[str], bool]:
    """Return the test for images among these files: `is_named_as_image` if it accepts any file, else `may_be_image`."""
    return is_named_as_image if any(map(is_named_as_image, paths)) else may_be_image


def is_camera_raw(path: str) -> bool:
    """Return whether a file's suffix is that of a camera's raw data.

    Such files often are TIFF files whose first image is a small preview, which would be taken for the photo.
    """
    return suffix_of(path) in _CAMERA_RAW


def explain_unsupported(data: bytes) -> str:
    """Return why a file is not decoded if its format is known but not supported; "" if its format is unknown."""
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        return (
            "is a HEIC photo, which is not supported, because its decoders are not under a permissive licence. Convert "
            "it to JPEG, for example with `mogrify -format jpg *.heic` (ImageMagick) or `sips -s format jpeg` (macOS)"
        )
    if data.startswith(_JXL):
        return "is a JPEG XL image, which is not supported. Convert it to JPEG or PNG, for example with `djxl`"
    if data.startswith(_JPEG_2000):
        return "is a JPEG 2000 image, which is not supported. Convert it to JPEG or PNG"
    return ""


def begin_of(data: bytes) -> str:
    """Return the first bytes of a file as a clause."""
    return f"its first bytes are {data[:12]!r}" if data else "the file is empty"
