"""Compiles irvis_runtime/kernels/kernels.c for every board and workbench, whatever machine this is.

Part of each build and each editable installation (`cmdclass` of both pyproject.toml). Zig brings clang for
all targets as a package of PyPI; the libraries need no C library, so that one wheel serves every Linux.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from setuptools.command.build_py import build_py

MACHINES = ("x86_64", "aarch64")
FLAGS = (
    "-O3",
    "-ffreestanding",
    "-fno-builtin",
    "-fPIC",
    "-shared",
    "-nostdlib",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-s",
)
FOLDER = Path("irvis_runtime", "kernels")


def build_kernels(target: Path) -> list[Path]:
    """Returns the libraries that it puts into the folder; CalledProcessError where the compiler refuses."""
    source = Path(__file__).parent / FOLDER / "kernels.c"
    target.mkdir(parents=True, exist_ok=True)
    libraries = []
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}
        for machine in MACHINES:
            made, library = Path(cache, machine), target / f"kernels-{machine}.so"
            command = [sys.executable, "-m", "ziglang", "cc", "-target", f"{machine}-linux-gnu", *FLAGS]
            subprocess.run([*command, str(source), "-o", str(made)], check=True, env=environment)
            # By renaming, so that a process that has the former one loaded keeps it.
            staged = library.with_suffix(".new")
            staged.write_bytes(made.read_bytes())
            staged.replace(library)
            libraries.append(library)
    return libraries


class BuildPy(build_py):
    """Copies the packages, and puts the libraries beside the copy; beside the source where that is used."""

    def run(self) -> None:
        """Builds; the editable installation uses the source as it lies there."""
        super().run()
        root = Path(__file__).parent if self.editable_mode else Path(self.build_lib)
        self._libraries = build_kernels(root / FOLDER)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Returns what the build has made, the libraries too."""
        made = [] if self.editable_mode else [str(path) for path in getattr(self, "_libraries", [])]
        return [*super().get_outputs(include_bytecode), *made]


if __name__ == "__main__":
    build_kernels(Path(__file__).parent / FOLDER)
