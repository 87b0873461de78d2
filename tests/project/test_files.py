"""Sizes and names of what the repository holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from irvis_runtime import default_model_dir
from irvis_runtime.contract import checked_model_path, load_manifest

MAX_LINES = 350
MAX_FILE_BYTES = 4_500_000
"""The largest shipped model has a million weights of four bytes."""
MAX_PRECISIONS_BYTES = 9_000_000
MODELS = sorted(path.parent for path in default_model_dir().parent.glob("*/manifest.json"))
each_model = pytest.mark.parametrize("model_dir", MODELS, ids=[path.name for path in MODELS])
STAGES = ("runtime", "export", "quantize", "train", "jetson")


def test_no_shipped_file_is_long(root: Path, tracked: list[Path]) -> None:
    shipped = [path for path in tracked if path.parts[0] in STAGES and path.suffix in (".py", ".sh")]
    assert len(shipped) > 50
    lines = {path: len((root / path).read_text().splitlines()) for path in shipped}
    assert {str(path): count for path, count in lines.items() if count > MAX_LINES} == {}


def test_no_file_is_named_after_nothing(tracked: list[Path]) -> None:
    vague = {"utils", "util", "common", "helpers", "helper", "misc", "tools"}
    assert [str(path) for path in tracked if vague & {part.split(".")[0] for part in path.parts}] == []


def test_no_file_is_large(root: Path, tracked: list[Path]) -> None:
    sizes = {str(path): (root / path).stat().st_size for path in tracked}
    assert {path: size for path, size in sizes.items() if size > MAX_FILE_BYTES} == {}


def test_there_are_three_sizes() -> None:
    assert [path.name for path in MODELS] == ["irvis-m", "irvis-n", "irvis-s"]


@each_model
def test_three_precisions_are_small(model_dir: Path) -> None:
    manifest = load_manifest(model_dir)
    files = [checked_model_path(model_dir, manifest, p) for p in ("fp32", "fp16", "int8")]
    assert sum(path.stat().st_size for path in files) < MAX_PRECISIONS_BYTES


@each_model
def test_shipped_model_holds_what_its_manifest_names(
    model_dir: Path, root: Path, tracked: list[Path]
) -> None:
    """A file that a newer export or a refusing gate left behind would go out with the wheel."""
    folder = model_dir.relative_to(root)
    manifest = load_manifest(model_dir)
    assert manifest.name == model_dir.name
    assert manifest.weights is not None
    named = {file.path for file in manifest.files.values()} | {manifest.weights.path}
    beside = {"manifest.json", "calibration.json", "MODEL_CARD.md"}
    held = {path.relative_to(folder) for path in tracked if path.is_relative_to(folder)}
    assert {str(path) for path in held if path.parts[0] != "bench"} - beside == named


def test_nothing_made_is_tracked(tracked: list[Path]) -> None:
    made = {"__pycache__", ".venv", "build", "dist", "demo-out", "runs", ".coverage"}
    assert [
        str(path) for path in tracked if made & set(path.parts) or path.suffix in (".pyc", ".pt", ".pth")
    ] == []


@pytest.mark.parametrize("stage", ["runtime", "export", "quantize", "train"])
def test_every_package_is_typed(stage: str, tracked: list[Path]) -> None:
    assert Path(stage) / f"irvis_{stage}" / "py.typed" in tracked


def test_every_stage_has_a_readme(tracked: list[Path]) -> None:
    assert [stage for stage in STAGES if Path(stage) / "README.md" not in tracked] == []
