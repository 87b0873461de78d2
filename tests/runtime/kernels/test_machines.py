"""The kernels of aarch64 under qemu-user give the very bytes of x86-64's; so does the C under sanitizers."""

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

import numpy as np
import pytest
from numpy.typing import NDArray

from irvis_runtime.kernels import library
from irvis_runtime.kernels.library import INTERFACE, LEVELS, Kernels
from irvis_runtime.kernels.warp import Warp, plan_warp

from .elf_image import memory_image

DRIVER = Path(__file__).with_name("driver.c")
PACKAGE = Path(library.__file__).parent
FUNCTIONS = (
    "irvis_kernels_interface",
    "irvis_kernels_run_here",
    "irvis_warp",
    "irvis_area_means",
    "irvis_look_up",
)
WARP, AREA_MEANS, LOOK_UP = 2, 3, 4
"""As in driver.c."""
ROUNDS = 60


class Calls:
    """Calls for the driver, and what this machine's kernels answer."""

    def __init__(self, compiled: Kernels) -> None:
        self.compiled = compiled
        self.written: list[bytes] = []
        self.expected: list[bytes] = [struct.pack("<ii", INTERFACE, 1)]

    def add(
        self,
        kind: int,
        source: NDArray[np.uint8],
        size_hw: tuple[int, int],
        stride: int,
        first: int,
        *rest: bytes,
    ) -> None:
        """Notes a call; the source is all the memory that the driver has of it."""
        header = struct.pack("<6q", kind, stride, *size_hw, first, source.size)
        self.written += [header, source.tobytes(), *rest]

    def warp(self, warp: Warp, rows: NDArray[np.uint8]) -> None:
        """`rows` may be wider than the picture and hold its last row no further than that goes."""
        columns = warp.source_hw[1]
        self.expected.append(warp(rows[:, :columns]).tobytes())
        source = rows.reshape(-1)[: (rows.shape[0] - 1) * rows.shape[1] + columns]
        maps = (warp.starts.tobytes(), warp.maps.tobytes())
        self.add(WARP, source, warp.target_hw, rows.shape[1], 0, *maps)

    def area_means(self, picture_hw: NDArray[np.uint8], is_upside_down: bool) -> None:
        """With a negative stride where it is upside down."""
        height, width = picture_hw.shape
        means = np.empty((64, 64), np.float32)
        self.compiled.area_means(picture_hw[::-1] if is_upside_down else picture_hw, means)
        self.expected.append(means.tobytes())
        stride, first = (-width, (height - 1) * width) if is_upside_down else (width, 0)
        self.add(AREA_MEANS, picture_hw, (height, width), stride, first)

    def look_up(self, table: NDArray[np.uint8], counts_hw: NDArray[np.uint16], first: int) -> None:
        """The counts begin `first` bytes behind the start of their memory."""
        self.expected.append(self.compiled.look_up(table, counts_hw).tobytes())
        source = np.frombuffer(bytes(first) + counts_hw.tobytes(), np.uint8)
        self.add(LOOK_UP, source, counts_hw.shape, 2 * counts_hw.shape[1], first, table.tobytes())


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


@pytest.fixture(scope="module")
def calls(compiled: Kernels) -> Calls:
    """Noise and extremes of all sizes, and all levels of a table."""
    made, rng = Calls(compiled), np.random.default_rng(0)
    table = rng.integers(0, 256, LEVELS, np.uint8)
    for index in range(ROUNDS):
        warp = random_warp(compiled, rng)
        rows = rng.integers(0, 256, (warp.source_hw[0], warp.source_hw[1] + index % 5), np.uint8)
        made.warp(warp, rows if index % 4 else np.full_like(rows, 255))
        size_hw = tuple(rng.integers(1, 300, 2))
        made.area_means(rng.integers(0, 256, size_hw, np.uint8), index % 2 == 1)
        made.look_up(table, rng.integers(0, LEVELS, size_hw, np.uint16), index % 3)
    made.look_up(table, np.arange(LEVELS, dtype=np.uint16).reshape(256, 256), 1)
    made.area_means(np.full((2**14, 65), 255, np.uint8), False)
    return made


def answers(command: Sequence[str | Path], image: bytes, places: Sequence[int], calls: Calls) -> bytes:
    """What the driver writes."""
    head = struct.pack("<6q", len(image), *places) + image
    done = subprocess.run(
        command, input=head + b"".join(calls.written), capture_output=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"{done.returncode}: {done.stderr.decode()}"
    return done.stdout


def assert_same(got: bytes, calls: Calls) -> None:
    """Result by result, so that a difference has a place."""
    start = 0
    for index, expected in enumerate(calls.expected):
        assert got[start : start + len(expected)] == expected, f"result {index}"
        start += len(expected)
    assert start == len(got)


def test_aarch64_answers_as_x86_64_bit_for_bit(calls: Calls, tmp_path: Path) -> None:
    if platform.machine() != "x86_64":
        pytest.skip("compares with the kernels of x86-64, and this machine is none")
    qemu = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if qemu is None:
        pytest.skip("needs qemu-aarch64; on Debian: apt-get install qemu-user-static")
    if find_spec("ziglang") is None:
        pytest.skip("needs ziglang to compile the driver; `make install` brings it")
    program, cache = tmp_path / "driver", str(tmp_path / "cache")
    flags = ("-O1", "-static", "-nostdlib", "-ffreestanding", "-fno-builtin", "-Wall", "-Wextra", "-Werror")
    command = [sys.executable, "-m", "ziglang", "cc", "-target", "aarch64-linux-gnu", *flags, str(DRIVER)]
    environment = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}
    subprocess.run([*command, "-o", str(program)], check=True, env=environment)
    image, functions = memory_image(PACKAGE / "kernels-aarch64.so")
    assert_same(answers([qemu, program], image, [functions[name] for name in FUNCTIONS], calls), calls)


def test_sanitizers_find_nothing(calls: Calls, tmp_path: Path) -> None:
    """Nothing outside a buffer, no overflow, shift or misaligned access, says gcc."""
    gcc = shutil.which("gcc")
    if gcc is None:
        pytest.skip("needs gcc with its sanitizers")
    program = tmp_path / "driver"
    sanitize = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    flags = ("-DHOSTED", "-O1", "-g", *sanitize, "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas")
    command = [gcc, *flags, str(DRIVER), str(PACKAGE / "kernels.c"), "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "cannot find" in done.stderr:
        pytest.skip(f"needs gcc's sanitizers: {done.stderr.splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    assert_same(answers([program], b"", [0] * len(FUNCTIONS), calls), calls)
