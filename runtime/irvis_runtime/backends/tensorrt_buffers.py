"""The memory of an engine's ports."""

from __future__ import annotations

import ctypes
import math
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cudart import Cudart


class PortBuffer:
    """The memory of one port: pinned on the host, and the device's view of it or a copy on the device.

    `is_mapped`: the device works in the host's memory, which costs nothing where both share it (Jetson).
    """

    def __init__(self, cuda: Cudart, shape: tuple[int, ...], dtype: np.dtype[Any], is_mapped: bool) -> None:
        self._cuda, self._is_mapped = cuda, is_mapped
        self._size_bytes = math.prod(shape) * dtype.itemsize
        with ExitStack() as stack:
            self._host = cuda.allocate_host(self._size_bytes)
            stack.callback(cuda.free_host, self._host)
            if is_mapped:
                self.device = cuda.device_address(self._host)
            else:
                self.device = cuda.allocate_device(self._size_bytes)
                stack.callback(cuda.free_device, self.device)
            self._owned = stack.pop_all()
        memory = (ctypes.c_uint8 * self._size_bytes).from_address(self._host)
        self.array: NDArray[Any] = np.frombuffer(memoryview(memory), dtype).reshape(shape)
        self.array[...] = 0

    def upload(self, stream: int) -> None:
        """Queues what brings the host's bytes to the device."""
        if not self._is_mapped:
            self._cuda.copy_to_device(self.device, self._host, self._size_bytes, stream)

    def download(self, stream: int) -> None:
        """Queues what brings the device's bytes to the host."""
        if not self._is_mapped:
            self._cuda.copy_to_host(self._host, self.device, self._size_bytes, stream)

    def close(self) -> None:
        """Frees the memory; `array` must not be touched again."""
        self._owned.close()
