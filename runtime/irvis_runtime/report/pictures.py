"""The pictures of a report: found beside the bench file, made small, and put into the page itself."""

from __future__ import annotations

import base64
from pathlib import Path, PurePosixPath

from irvis_runtime.bench.file import Bench, PictureSet
from irvis_runtime.errors import BackendError, ContractError
from irvis_runtime.image import opencv, read_picture

from .numbers import TIMES, TITLES, title

MAX_WIDTH_PX = 640
JPEG_QUALITY = 88


def find_picture(bench_path: Path, name: str) -> Path | None:
    """The picture that a bench file names, None where it is not there (the file came alone).

    ContractError for a name that leads out of the bench file's folder.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise ContractError(
            f"{bench_path}: pictures: expected paths below the bench file's folder, got {name!r}; "
            "do not change the file by hand"
        )
    found = bench_path.parent / path
    return found if found.is_file() else None


def data_uri(path: Path) -> str:
    """The picture as a JPEG of at most 640 pixels' width, as text that an <img> takes."""
    cv2 = opencv()
    picture = read_picture(path)
    height, width = picture.shape[:2]
    if width > MAX_WIDTH_PX:
        size = (MAX_WIDTH_PX, max(1, round(height * MAX_WIDTH_PX / width)))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    is_encoded, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not is_encoded:
        raise BackendError(
            f"{path}: OpenCV cannot encode {picture.shape} {picture.dtype}; make the picture again"
        )
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}"


def difference_text(pictures: PictureSet) -> str:
    """What the difference picture shows."""
    names = (pictures.difference or "difference").split(" - ")
    return f"{' minus '.join(map(title, names))}, {pictures.difference_factor}{TIMES} around mid grey"


def picture_names(pictures: PictureSet) -> list[str]:
    """The pictures of a set in the order in which they are shown."""
    order = [*TITLES, "difference"]
    return sorted(pictures.files, key=lambda name: order.index(name) if name in order else len(order))


def score_text(bench: Bench, pair: str, name: str) -> str:
    """How near that picture is to the teacher and to FP32, for the caption; empty where it is neither."""
    scores = next((row.scores for row in bench.pairs if row.name == pair), {})
    if name not in scores:
        return ""
    parts = []
    for fidelity, of in ((scores[name].to_teacher, "the teacher"), (scores[name].to_fp32, "FP32")):
        if fidelity is not None:
            parts.append(
                f"identical to {of}" if fidelity.psnr_db is None else f"{fidelity.psnr_db:.1f} dB to {of}"
            )
    return f" {', '.join(parts)}" if parts else ""
