"""What a run leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import safe_open

from irvis_train.fit import LOG


def log_rows(run_dir: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run_dir / LOG).read_text().splitlines()]


def weights(model_dir: Path) -> bytes:
    return (model_dir / "student.safetensors").read_bytes()


def metadata(path: Path) -> dict[str, str]:
    """The header of a checkpoint."""
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata())
