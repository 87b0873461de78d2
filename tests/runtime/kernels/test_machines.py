"""The kernels of aarch64 under qemu-user give the bytes of x86-64's; nothing in the C is undefined."""

from __future__ import annotations

import os
import platform
import shutil
import struct
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from irvis_runtime.kernels import library
from irvis_runtime.kernels.library import LEVELS, Kernels
from irvis_runtime.kernels.warp import Warp, plan_warp

from .elf_image import memory_image

HERE = Path(__file__).parent
PACKAGE = Path(library.__file__).parent
ARGUMENTS = 8
"""As in driver.c."""
ROUNDS = 60


class Calls:
    """Calls of aarch64's kernels for the driver, and what this machine's answer."""

    def __init__(self, compiled: Kernels, places: dict[str, int]) -> None:
        self.compiled = compiled
        self.called: set[str] = set()
        self.written: list[bytes] = []
        self.expected: list[bytes] = []
        self._places = places

    def add(
        self,
        name: str,
        *arguments: int | bytes | tuple[bytes, int] | list[int],
        shares: Sequence[float] = (0, 0),
    ) -> None:
        """Notes a call: numbers, buffers (with an offset in a tuple), and rooms of [bytes] for results."""
        numbers: list[int] = []
        sizes: list[int] = []
        buffers: list[bytes] = []
        for argument in (*arguments, *(ARGUMENTS - len(arguments)) * (0,)):
            number, size, buffer = 0, 0, b""
            if isinstance(argument, int):
                number = argument
            elif isinstance(argument, list):
                size = -argument[0]
            else:
                buffer, number = argument if isinstance(argument, tuple) else (argument, 0)
                size = len(buffer)
            numbers.append(number)
            sizes.append(size)
            buffers.append(buffer)
        header = struct.pack("<17q2f", self._places[name], *numbers, *sizes, *shares)
        self.written += [header, *buffers]
        self.called.add(name)

    def warp(self, warp: Warp, rows: NDArray[np.uint8]) -> None:
        """`rows` may be wider than the picture, whose last row ends the buffer."""
        columns, (height, width) = warp.source_hw[1], warp.target_hw
        self.expected.append(warp(rows[:, :columns]).tobytes())
        source = rows.tobytes()[: (rows.shape[0] - 1) * rows.shape[1] + columns]
        maps = (warp.starts.tobytes(), warp.maps.tobytes())
        self.add("irvis_warp", source, rows.shape[1], *maps, height, width, [height * width])

    def area_means(self, picture_hw: NDArray[np.uint8], is_upside_down: bool) -> None:
        """With a negative stride where it is upside down."""
        height, width = picture_hw.shape
        means = np.empty((64, 64), np.float32)
        self.compiled.area_means(picture_hw[::-1] if is_upside_down else picture_hw, means)
        self.expected.append(means.tobytes())
        source = (picture_hw.tobytes(), (height - 1) * width if is_upside_down else 0)
        stride, sums = -width if is_upside_down else width, bytes(4 * (width + 1))
        self.add("irvis_area_means", source, stride, height, width, sums, [means.nbytes])

    def look_up(self, table: NDArray[np.uint8], counts_hw: NDArray[np.uint16], first: int) -> None:
        """The counts begin `first` bytes behind the start of their memory."""
        height, width = counts_hw.shape
        self.expected.append(self.compiled.look_up(table, counts_hw).tobytes())
        source = (bytes(first) + counts_hw.tobytes(), first)
        self.add("irvis_look_up", source, 2 * width, height, width, table.tobytes(), [height * width])

    def ranges(self, luma_hw: NDArray[np.uint8]) -> None:
        """Both ways."""
        height, width = luma_hw.shape
        for way in ("full", "limited"):
            self.expected.append(getattr(self.compiled, f"to_{way}_range")(luma_hw).tobytes())
            self.add(f"irvis_to_{way}_range", luma_hw.tobytes(), width, height, width, [height * width])

    def contexts(self, rng: np.random.Generator) -> None:
        """A step of the smoothing, and a comparison of contexts that are partly alike."""
        goal, first, second = rng.uniform(0, 255, (3, 1, 2, 64, 64)).astype(np.float32)
        shares = tuple(rng.uniform(0, 1, 2))
        self.expected += [after.tobytes() for after in self.compiled.follow(goal, first, second, *shares)]
        before = (goal.tobytes(), first.tobytes(), second.tobytes())
        self.add("irvis_follow", *before, goal.size, [goal.nbytes], [goal.nbytes], shares=shares)
        now = (goal + rng.uniform(0, 2) * first).astype(np.float32)
        self.expected.append(self.compiled.compare_blocks(now, goal, 576, 0.5).tobytes())
        self.add("irvis_compare_blocks", now.tobytes(), goal.tobytes(), [16], shares=(576, 0.5))


def random_warp(compiled: Kernels, rng: np.random.Generator) -> Warp:
    """A zoom with a small turn, at random positions of a random source."""
    rows, columns = (int(rng.integers(least, 90)) for least in (3, 16))
    y_hw, x_hw = np.mgrid[0 : rng.integers(1, 50), 0 : rng.integers(8, 80)].astype(np.float64)
    zoom, turn, shift_y, shift_x = rng.uniform((0.4, -0.08, -5, -5), (1.2, 0.08, rows, columns))
    x = np.clip(zoom * (x_hw - turn * y_hw) + shift_x, 0, columns - 1).astype(np.float32)
    y = np.clip(zoom * (turn * x_hw + y_hw) + shift_y, 0, rows - 1).astype(np.float32)
    warp = plan_warp(compiled, x, y, (rows, columns))
    assert warp is not None
    return warp


def make_calls(compiled: Kernels, places: dict[str, int]) -> Calls:
    """Noise and extremes of all sizes, and all levels of a table."""
    made, rng = Calls(compiled, places), np.random.default_rng(0)
    table = rng.integers(0, 256, LEVELS, np.uint8)
    for index in range(ROUNDS):
        warp = random_warp(compiled, rng)
        rows = rng.integers(0, 256, (warp.source_hw[0], warp.source_hw[1] + index % 5), np.uint8)
        made.warp(warp, rows if index % 4 else np.full_like(rows, 255))
        size_hw: Any = tuple(rng.integers(1, 300, 2))
        picture_hw = rng.integers(0, 256, size_hw, np.uint8)
        made.area_means(picture_hw, index % 2 == 1)
        made.ranges(picture_hw)
        made.look_up(table, rng.integers(0, LEVELS, size_hw, np.uint16), index % 3)
        made.contexts(rng)
    made.look_up(table, np.arange(LEVELS, dtype=np.uint16).reshape(256, 256), 1)
    made.area_means(np.full((2**14, 65), 255, np.uint8), False)
    made.ranges(np.arange(256, dtype=np.uint8).reshape(1, 256))
    return made


@pytest.fixture
def zig(tmp_path: Path) -> Any:
    """Compiles with the compiler of the kernels; skips without it."""
    if find_spec("ziglang") is None:
        pytest.skip("needs ziglang; `make install` brings it")
    cache = str(tmp_path / "cache")
    environment = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}
    flags = ("-ffreestanding", "-fno-builtin", "-nostdlib", "-Wall", "-Wextra", "-Werror")

    def compiled(source: Path, *more: str) -> Path:
        target = tmp_path / source.stem
        command = [sys.executable, "-m", "ziglang", "cc", *flags, *more, str(source), "-o", str(target)]
        subprocess.run(command, check=True, env=environment)
        return target

    return compiled


def emulator(machine: str) -> str:
    """QEMU for programs of that machine; skips without it."""
    found = shutil.which(f"qemu-{machine}") or shutil.which(f"qemu-{machine}-static")
    if found is None:
        pytest.skip(f"needs qemu-{machine}; on Debian: apt-get install qemu-user")
    return found


def test_aarch64_answers_as_x86_64_bit_for_bit(compiled: Kernels, zig: Any) -> None:
    if platform.machine() != "x86_64":
        pytest.skip("compares with the kernels of x86-64, and this machine is none")
    qemu = emulator("aarch64")
    program = zig(HERE / "driver.c", "-target", "aarch64-linux-gnu", "-static", "-O1")
    image, places = memory_image(PACKAGE / "kernels-aarch64.so")
    calls = make_calls(compiled, places)
    assert calls.called == {name for name in places if not name.startswith("irvis_kernels_")}
    given = struct.pack("<q", len(image)) + image + b"".join(calls.written)
    done = subprocess.run([qemu, program], input=given, capture_output=True, check=False, timeout=300)
    assert done.returncode == 0, f"{done.returncode}: {done.stderr.decode()}"
    start = 0
    for index, expected in enumerate(calls.expected):
        assert done.stdout[start : start + len(expected)] == expected, f"result {index}"
        start += len(expected)
    assert start == len(done.stdout)


@pytest.mark.parametrize(("cpu", "runs"), [("qemu64,-ssse3", 0), ("max", 1)])
def test_a_cpu_without_the_instructions_is_known(compiled: Kernels, cpu: str, runs: int) -> None:
    if platform.machine() != "x86_64":
        pytest.skip("every aarch64 has them")
    code = "import ctypes, sys; print(ctypes.CDLL(sys.argv[1]).irvis_kernels_run_here())"
    command = [emulator("x86_64"), "-cpu", cpu, os.path.realpath(sys.executable), "-I", "-S", "-c", code]
    done = subprocess.run(
        [*command, str(PACKAGE / "kernels-x86_64.so")], capture_output=True, text=True, check=False
    )
    assert done.stdout == f"{runs}\n", done.stderr


def test_nothing_is_undefined(compiled: Kernels, zig: Any) -> None:
    """Overflow, shifts, misaligned access: clang's sanitizer ends the process at the first."""
    sanitize = ("-fsanitize=undefined", "-fsanitize-trap=undefined")
    target = ("-target", f"{platform.machine()}-linux-gnu", "-shared", "-fPIC", "-O1")
    library = zig(PACKAGE / "kernels.c", *target, *sanitize)
    command = [sys.executable, str(HERE / "guarded.py"), "all", str(library)]
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parents[1])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.returncode}: {done.stderr}"
