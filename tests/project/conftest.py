"""The repository as a clone has it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy
import pytest


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the clone."""
    return Path(__file__).parents[2]


@pytest.fixture(scope="session")
def tracked(root: Path) -> list[Path]:
    """What git holds or would add, relative to the root; skips outside a clone."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"needs a git clone to know which files belong to it ({error})")
    files = [Path(name) for name in done.stdout.split("\0") if name]
    return [path for path in files if (root / path).is_file()]


@pytest.fixture(scope="session")
def numpy_alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of modules that holds numpy and nothing else."""
    site = tmp_path_factory.mktemp("site")
    installed = Path(numpy.__file__).parent
    for package in (installed, installed.parent / "numpy.libs"):
        if package.exists():
            (site / package.name).symlink_to(package)
    return site
