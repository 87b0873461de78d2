"""What a trained network says of the code that made it."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import numpy as np
import torch

import irvis_runtime


def commit() -> str:
    """The clone's commit, with `+` where files differ from it; `unknown` outside a clone."""
    here = Path(__file__).parent
    try:
        found, changes = (
            subprocess.run(
                ["git", *words], cwd=here, capture_output=True, text=True, check=True
            ).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found + ("+" if changes else "")


def versions() -> dict[str, str]:
    """Versions of what computes."""
    return {
        "irvis": irvis_runtime.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": str(np.__version__),
    }
