"""Still pictures: files to 8-bit planes and back, luma and colour."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import atomic
from .errors import BackendError, ContractError
from .picture_files import PICTURE_SUFFIXES, read_picture_bytes
from .thermal.agc import Agc, stretch_to_8_bit, to_8_bit

JPEG_QUALITY = 95


@dataclass(frozen=True)
class Visible:
    """A visible picture as the network takes it: luma to be fused, and colour that passes through."""

    luma_hw: NDArray[np.uint8]
    """BT.601 full range, 0..255."""
    chroma_hw2: NDArray[np.uint8] | None = None
    """Cr and Cb, offset 128; None for a grey picture."""


def opencv() -> ModuleType:
    """OpenCV with its messages switched off; BackendError with the install command where it is missing."""
    try:
        import cv2
    except ImportError as error:
        raise BackendError(
            f"pictures need OpenCV, which cannot be imported ({error}); "
            "run `pip install opencv-python-headless` or, on a board, `sudo apt install python3-opencv`"
        ) from error
    # OpenCV 4.8 has cv2.setLogLevel, 4.14 has it in cv2.utils.logging only.
    set_log_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
    set_log_level(0)
    return cv2


def read_picture(path: Path) -> NDArray[Any]:
    """The pixels as stored, uint8 or uint16, (H, W) or (H, W, 3) in the order B, G, R.

    PNG, JPEG, TIFF; palettes are expanded and alpha is dropped. An orientation, of EXIF or TIFF, is not
    applied, because sensors are registered by their pixel grids; black is 0, also of a TIFF that says white
    is. ContractError for every file that gives no whole picture; what damage is found, and what is not:
    `read_picture_bytes`.
    """
    cv2 = opencv()
    file = read_picture_bytes(path)
    encoded = np.frombuffer(file.content, np.uint8)
    try:
        picture: NDArray[Any] | None = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ContractError(f"{path}: OpenCV cannot decode it ({error.err}); convert it to PNG") from error
    if picture is None:
        raise ContractError(f"{path}: OpenCV cannot decode it, it is damaged or unusual; convert it to PNG")
    if picture.dtype not in (np.uint8, np.uint16):
        raise ContractError(
            f"{path}: expected 8 or 16 bits per sample, unsigned, got {picture.dtype}; "
            "convert temperatures to 16-bit counts"
        )
    if file.is_white_zero:
        picture = np.iinfo(picture.dtype).max - picture
    if picture.ndim == 2:
        return picture
    if picture.shape[2] not in (3, 4):
        raise ContractError(
            f"{path}: expected grey or colour, got {picture.shape[2]} channels; convert it to PNG"
        )
    return np.ascontiguousarray(picture[..., :3])


def read_infrared(path: Path, agc: Agc | None = None) -> NDArray[np.uint8]:
    """An infrared picture as (H, W), 0..255: luma of colour, 16 bits by `agc` or `stretch_to_8_bit`."""
    picture = read_picture(path)
    grey_hw = picture if picture.ndim == 2 else luma_bt601(picture)
    if grey_hw.dtype != np.uint16:
        return grey_hw
    return stretch_to_8_bit(grey_hw) if agc is None else to_8_bit(grey_hw, agc)


def read_visible(path: Path) -> Visible:
    """A visible picture as luma and chroma, 0..255; 16 bits are divided by 257, so that 65535 becomes 255."""
    return split_colour(_to_8_bit(read_picture(path)))


def split_colour(picture: NDArray[np.uint8]) -> Visible:
    """Luma and chroma of an 8-bit picture, (H, W) or (H, W, 3 BGR)."""
    if picture.ndim == 2:
        return Visible(picture)
    cv2 = opencv()
    ycrcb_hw3 = cv2.cvtColor(picture, cv2.COLOR_BGR2YCrCb)
    return Visible(np.ascontiguousarray(ycrcb_hw3[..., 0]), np.ascontiguousarray(ycrcb_hw3[..., 1:]))


def luma_bt601(bgr_hw3: NDArray[Any]) -> NDArray[Any]:
    """Y of OpenCV's YCrCb (BT.601, full range), same type and range as the input: (H, W, 3 BGR) -> (H, W)."""
    cv2 = opencv()
    return np.ascontiguousarray(cv2.cvtColor(bgr_hw3, cv2.COLOR_BGR2YCrCb)[..., 0])


def join_colour(fused_luma_hw: NDArray[np.uint8], visible: Visible) -> NDArray[np.uint8]:
    """The fused luma with the visible picture's colour: (H, W, 3 BGR), or (H, W) where that is grey."""
    if visible.chroma_hw2 is None:
        return fused_luma_hw
    cv2 = opencv()
    ycrcb_hw3 = np.dstack([fused_luma_hw, visible.chroma_hw2])
    bgr_hw3: NDArray[np.uint8] = cv2.cvtColor(ycrcb_hw3, cv2.COLOR_YCrCb2BGR)
    return bgr_hw3


def match_infrared(
    infrared_hw: NDArray[np.uint8], size_hw: tuple[int, int]
) -> tuple[NDArray[np.uint8], bool]:
    """The infrared picture at `size_hw` (height, width), and whether it had to be resized.

    Shrinking averages areas; anything else interpolates bilinearly.
    """
    if infrared_hw.shape == size_hw:
        return infrared_hw, False
    cv2 = opencv()
    height, width = size_hw
    shrinks = height <= infrared_hw.shape[0] and width <= infrared_hw.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(infrared_hw, (width, height), interpolation=method), True


def checked_picture_suffix(path: Path) -> str:
    """The lower-case suffix of a picture that can be written; ContractError for any other."""
    suffix = path.suffix.lower()
    if suffix not in PICTURE_SUFFIXES:
        raise ContractError(
            f"{path}: cannot write a picture as {suffix or 'a file without suffix'}; "
            f"name it with one of {', '.join(sorted(PICTURE_SUFFIXES))}"
        )
    return suffix


def write_picture(path: Path, picture: NDArray[Any]) -> None:
    """Writes (H, W) or (H, W, 3 BGR), uint8 or uint16, whole or not at all, in the format of the suffix.

    JPEG is written with quality 95 and takes 8 bits only.
    """
    suffix = checked_picture_suffix(path)
    cv2 = opencv()
    is_jpeg = suffix in (".jpg", ".jpeg")
    if is_jpeg and picture.dtype != np.uint8:
        raise ContractError(f"{path}: JPEG takes 8 bits per sample, got {picture.dtype}; name it .png")
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if is_jpeg else []
    kind = f"{picture.dtype} {picture.shape}"
    try:
        is_encoded, encoded = cv2.imencode(suffix, picture, options)
    except cv2.error as error:
        raise ContractError(f"{path}: OpenCV cannot encode {kind} ({error.err}); name it .png") from error
    if not is_encoded:
        raise ContractError(f"{path}: OpenCV cannot encode {kind} as {suffix}; name it .png")
    atomic.write_bytes(path, encoded.tobytes())


def _to_8_bit(picture: NDArray[Any]) -> NDArray[np.uint8]:
    if picture.dtype != np.uint16:
        return picture
    return ((picture.astype(np.uint32) + 128) // 257).astype(np.uint8)
