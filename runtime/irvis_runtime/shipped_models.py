"""The models that come with the wheel, by name."""

from __future__ import annotations

import difflib
from pathlib import Path

from .contract import MANIFEST_NAME
from .errors import ContractError

MODELS = Path(__file__).parent / "models"
DEFAULT_MODEL = "irvis-s"


def default_model_dir() -> Path:
    """Returns the shipped model that is used when none is named."""
    return MODELS / DEFAULT_MODEL


def shipped_model_dir(name: str) -> Path:
    """Returns the shipped model of that name; ContractError, with the nearest name, where there is none."""
    names = sorted(path.parent.name for path in MODELS.glob(f"*/{MANIFEST_NAME}"))
    if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ContractError(f"{name}: expected a shipped model, one of {', '.join(names)}{hint}")
    return MODELS / name


def find_model_dir(model: Path | str | None) -> Path:
    """Returns the directory of a model named by its path, or by its name where it is a shipped one."""
    if model is None:
        return default_model_dir()
    path = Path(model)
    return path if path.exists() or len(path.parts) > 1 else shipped_model_dir(str(model))
