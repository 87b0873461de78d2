"""Compiles irvis_runtime/kernels/kernels.c for every board and workbench, whatever machine this is.

Part of each build and each editable installation (`cmdclass` of both pyproject.toml); run alone, it puts the
libraries beside the source. Zig brings clang for all targets as a package of PyPI; the libraries need no C
library, so that one wheel serves every Linux.

There is no switch to build without: a wheel that is silently several times slower would be found out on the
board. Whoever has no compiler still runs the source as it lies there, on NumPy and OpenCV.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from setuptools.command.build_py import build_py

MACHINES = ("x86_64", "aarch64")
FLAGS = (
    "-O3",
    "-ffreestanding",
    "-fno-builtin",
    "-ffp-contract=off",  # both machines round alike
    "-fPIC",
    "-shared",
    "-nostdlib",
    "-Wall",
    "-Wextra",
    "-Wcast-align",
    "-Werror",
    "-s",
)
FOLDER = Path("irvis_runtime", "kernels")
SOURCE = Path(__file__).parent / FOLDER / "kernels.c"


class CompilerError(Exception):
    """Zig is not there or refuses; one line with what to do."""


def build_kernels(target: Path) -> list[Path]:
    """Returns the libraries of all machines, which it puts into the folder; CompilerError where one fails."""
    if find_spec("ziglang") is None:
        raise CompilerError(
            f"kernels.c: expected Zig's compiler, the package ziglang of PyPI, for {sys.executable}; "
            "there is none; run `pip install ziglang`, or build without --no-isolation"
        )
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        made = {machine: _compile(machine, Path(scratch)) for machine in MACHINES}
    return [_put(target / f"kernels-{machine}.so", content) for machine, content in made.items()]


def _compile(machine: str, scratch: Path) -> bytes:
    """The library for one machine."""
    library = scratch / machine
    # Zig's own cache would stay behind in the home folder, which a build machine may not have.
    environment = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(scratch), "ZIG_LOCAL_CACHE_DIR": str(scratch)}
    command = [sys.executable, "-m", "ziglang", "cc", "-target", f"{machine}-linux-gnu", *FLAGS]
    command += [str(SOURCE), "-o", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        told = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in told if "error:" in line] or told[-1:] or ["nothing was said"]
        raise CompilerError(
            f"kernels.c: expected Zig to compile it for {machine}, it ended with {done.returncode}: "
            f"{errors[0]}; mend that, or take a wheel that another machine has built: it serves all"
        )
    return library.read_bytes()


def _put(library: Path, content: bytes) -> Path:
    """Replaces a library by renaming, so that a process that has the former one loaded keeps it."""
    staged = library.with_suffix(".new.so")
    staged.write_bytes(content)
    staged.replace(library)
    return library


class BuildPy(build_py):
    """Copies the packages, and puts the libraries beside the copy; beside the source where that is used."""

    def run(self) -> None:
        """Builds; the editable installation uses the source as it lies there."""
        super().run()
        target = SOURCE.parent if self.editable_mode else Path(self.build_lib) / FOLDER
        try:
            build_kernels(target)
        except CompilerError as error:
            # Of an Exception setuptools makes a warning in an editable installation, and pip hides that.
            raise SystemExit(f"error: {error}") from None

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Returns what the build makes, the libraries too."""
        return [*super().get_outputs(include_bytecode), *self._libraries()]

    def get_output_mapping(self) -> dict[str, str]:
        """Returns where the editable installation finds what the build would make."""
        beside = {made: str(SOURCE.parent / Path(made).name) for made in self._libraries()}
        return {**super().get_output_mapping(), **(beside if self.editable_mode else {})}

    def get_source_files(self) -> list[str]:
        """Returns what the source distribution needs, the compiler's input and this file too."""
        return [*super().get_source_files(), os.path.relpath(__file__), os.path.relpath(SOURCE)]

    def _libraries(self) -> list[str]:
        return [str(Path(self.build_lib) / FOLDER / f"kernels-{machine}.so") for machine in MACHINES]


if __name__ == "__main__":
    try:
        build_kernels(SOURCE.parent)
    except CompilerError as error:
        sys.exit(f"error: {error}")
