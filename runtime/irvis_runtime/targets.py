"""What a student is measured against: its teacher's pictures, from a folder, an ONNX file or a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from .backends.onnxruntime import OnnxRuntimeSession
from .contract import FUSED, INFRARED, MANIFEST_NAME, VISIBLE, sha256_of
from .errors import ContractError
from .fuser import Fuser
from .image import read_visible
from .model_files.onnx_file import read_onnx
from .picture_files import PICTURE_SUFFIXES


@dataclass(frozen=True)
class Engine:
    """What ran a network."""

    backend: str
    versions: dict[str, str]
    sha256: str
    """Of the ONNX file."""
    file_bytes: int


def engine_of(fuser: Fuser) -> Engine:
    """What runs a model directory."""
    file = fuser.manifest.files[fuser.precision]
    size = (fuser.model_dir / file.path).stat().st_size
    return Engine(fuser.backend, dict(fuser.versions), file.sha256, size)


class Targets(ABC):
    """Gives the teacher's picture of a pair; a context manager.

    `kind`: "pictures", "onnx" or "model". `engine`: what computes the targets; None for a folder of pictures.
    """

    kind: str
    path: Path
    engine: Engine | None = None

    @abstractmethod
    def target(
        self, name: str, infrared_hw: NDArray[np.uint8], visible_hw: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        """Returns the teacher's fused luma of the pair `name`, float32 in 0..255, (H, W) as the pictures."""

    def check(self, names: Sequence[str]) -> None:  # noqa: B027  whatever computes has a target for every name
        """Raises ContractError where pairs of these names have no target; call it before a long run."""

    def close(self) -> None:  # noqa: B027  a folder holds nothing
        """Frees what computes the targets."""

    def __enter__(self) -> Targets:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_targets(path: Path, threads: int | None = None) -> Targets:
    """Opens the teacher at `path` by what lies there.

    A folder of fused pictures (matched to pairs by relative name, else by stem), a teacher's .onnx
    (`infrared` and `visible` float32 (1, 1, H, W) in 0..1 -> `fused` alike), or a model directory, whose FP32
    is the teacher. `threads`: for what computes; None takes all cores. ContractError for anything else.
    """
    path = Path(path)
    if (path / MANIFEST_NAME).is_file():
        return ModelTargets(path, threads)
    if path.is_dir():
        return PictureTargets(path)
    if path.suffix.lower() == ".onnx" and path.is_file():
        return OnnxTargets(path, threads)
    found = "a file of another kind" if path.exists() else "nothing"
    raise ContractError(
        f"{path}: expected a teacher (a folder of fused pictures, an .onnx file or a model directory), "
        f"found {found}; check the path"
    )


class PictureTargets(Targets):
    """The teacher's pictures, made beforehand."""

    kind = "pictures"

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self._by_name: dict[str, list[Path]] = {}
        self._by_stem: dict[str, list[Path]] = {}
        for picture in sorted(folder.rglob("*")):
            if picture.suffix.lower() in PICTURE_SUFFIXES and picture.is_file():
                name = picture.relative_to(folder).with_suffix("").as_posix()
                self._by_name.setdefault(name, []).append(picture)
                self._by_stem.setdefault(picture.stem, []).append(picture)
        if not self._by_name:
            raise ContractError(
                f"{folder}: expected the teacher's fused pictures or a {MANIFEST_NAME}, found neither; "
                "check the path"
            )

    def target(
        self, name: str, infrared_hw: NDArray[np.uint8], visible_hw: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        """Reads the picture of that name; ContractError where it is missing, ambiguous or of another size."""
        picture = self._find(name)
        fused_hw = read_visible(picture).luma_hw
        if fused_hw.shape != visible_hw.shape:
            raise ContractError(
                f"{picture}: expected {_size(visible_hw)} pixels as in the pair {name!r}, "
                f"got {_size(fused_hw)}; let the teacher fuse the pair at its own size"
            )
        return fused_hw.astype(np.float32)

    def check(self, names: Sequence[str]) -> None:
        """Raises ContractError for the first pair without exactly one picture."""
        for name in names:
            self._find(name)

    def _find(self, name: str) -> Path:
        found = self._by_name.get(name) or self._by_stem.get(name.rpartition("/")[2], [])
        if not found:
            raise ContractError(
                f"{self.path}: expected a fused picture of the pair {name!r}, found none of that name; "
                "let the teacher fuse every pair, or name the folder that holds its pictures"
            )
        if len(found) > 1:
            raise ContractError(
                f"{self.path}: expected one fused picture of the pair {name!r}, found {len(found)} "
                f"({found[0].relative_to(self.path)}, {found[1].relative_to(self.path)}); "
                "put them into folders named like the pairs'"
            )
        return found[0]


class OnnxTargets(Targets):
    """A teacher that takes and gives floats in 0..1, run by ONNX Runtime."""

    kind = "onnx"

    def __init__(self, model: Path, threads: int | None = None) -> None:
        self.path = model
        _check_teacher(model)
        self._session = OnnxRuntimeSession(model, threads)
        self.engine = Engine("onnxruntime", self._session.versions, sha256_of(model), model.stat().st_size)

    def target(
        self, name: str, infrared_hw: NDArray[np.uint8], visible_hw: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        """Runs the teacher; what leaves 0..255 is clipped, as in a picture file."""
        scale = np.float32(1 / 255)
        fused = self._session.infer(
            {INFRARED: infrared_hw[None, None] * scale, VISIBLE: visible_hw[None, None] * scale}
        ).get(FUSED)
        expected = (1, 1, *visible_hw.shape)
        if fused is None or fused.shape != expected or not np.isfinite(fused).all():
            got = "none of that name" if fused is None else f"{fused.shape} {fused.dtype}"
            raise ContractError(
                f"{self.path}: expected the output `{FUSED}` as finite floats {expected}, got {got}; "
                "export the teacher again"
            )
        fused_hw: NDArray[np.float32] = np.clip(fused[0, 0].astype(np.float32) * 255, 0, 255)
        return fused_hw

    def close(self) -> None:
        """Frees the session."""
        self._session.close()


class ModelTargets(Targets):
    """A model directory as the teacher: its FP32."""

    kind = "model"

    def __init__(self, model_dir: Path, threads: int | None = None) -> None:
        self.path = model_dir
        self._fuser = Fuser(model_dir, precision="fp32", threads=threads)
        self.engine = engine_of(self._fuser)

    def target(
        self, name: str, infrared_hw: NDArray[np.uint8], visible_hw: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        """Runs the FP32 model with the pair's own context."""
        return self._fuser.fuse(infrared_hw, visible_hw).astype(np.float32)

    def close(self) -> None:
        """Frees the engine."""
        self._fuser.close()


def _check_teacher(model: Path) -> None:
    """Raises ContractError unless the file is whole in itself and has a teacher's ports."""
    summary = read_onnx(model)
    ports = {port.name: port.dtype for port in (*summary.inputs, *summary.outputs)}
    if ports != dict.fromkeys((INFRARED, VISIBLE, FUSED), "float32"):
        raise ContractError(
            f"{model}: expected a teacher with the float32 ports {INFRARED}, {VISIBLE} and {FUSED}, got "
            f"{', '.join(f'{name} ({dtype})' for name, dtype in ports.items()) or 'none'}; "
            "name a model by its directory, and export a teacher with floats in 0..1"
        )
    if summary.external_data:
        raise ContractError(f"{model}: expected all data inside the file, got external data; export it again")


def _size(picture_hw: NDArray[np.uint8]) -> str:
    height, width = picture_hw.shape
    return f"{width} x {height}"
