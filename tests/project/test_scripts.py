"""Shell scripts, Makefile and pinned versions."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest


def scripts(tracked: list[Path]) -> list[Path]:
    return [path for path in tracked if path.suffix == ".sh" or path == Path(".ci/run")]


def test_shellcheck_finds_nothing(root: Path, tracked: list[Path]) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("needs shellcheck: apt-get install shellcheck")
    found = scripts(tracked)
    assert {path.parts[0] for path in found} >= {"install", ".ci", "jetson"}
    command = ["shellcheck", "--external-sources", *map(str, found)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_scripts_stop_at_the_first_error(root: Path, tracked: list[Path]) -> None:
    shipped = [path for path in scripts(tracked) if path.parts[0] != "tests"]
    entries = [path for path in shipped if os.access(root / path, os.X_OK)]
    assert Path(".ci/run") in entries
    for path in entries:
        assert re.search(r"^set -[a-zA-Z]*e[a-zA-Z]*", (root / path).read_text(), re.MULTILINE), path


@pytest.mark.parametrize("target", ["install", "demo", "test", "test-slow", "lint", "wheel", "clean"])
def test_make_has_the_target(target: str, root: Path) -> None:
    done = subprocess.run(["make", "-n", target], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_make_test_is_what_ci_runs(root: Path) -> None:
    assert "make test" in (root / ".ci" / "run").read_text()
    plan = subprocess.run(["make", "-n", "test"], cwd=root, capture_output=True, text=True, check=True).stdout
    for part in ("ruff check .", "ruff format --check .", "mypy", "mypy tests", 'pytest -m "not slow"'):
        assert part in plan, part


def test_every_dependency_is_pinned(root: Path) -> None:
    text = (root / "pyproject.toml").read_text()
    lists = re.findall(
        r"^(?:dependencies|train|export|quantize|dev) = (\[.*?\])$", text, re.MULTILINE | re.DOTALL
    )
    assert len(lists) == 5
    needed = {
        name.lower().replace("_", "-") for part in lists for name in re.findall(r"\"([A-Za-z0-9_-]+)", part)
    }
    pinned = re.findall(r"^([A-Za-z0-9_.-]+)==", (root / "constraints.txt").read_text(), re.MULTILINE)
    held = {name.lower().replace("_", "-") for name in pinned}
    assert needed - held - {"setuptools", "wheel", "tomli"} == set()
