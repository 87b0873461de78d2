"""GStreamer's buffers as numpy arrays and back, without the copies that PyGObject makes.

PyGObject without Gst's overrides gives a mapped buffer as a copy, and takes bytes through three more.
Measured on 640x480 NV12, CPU time: reading 18 us by PyGObject, 1 us here; writing 707 us and 25 us.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import BackendError, ContractError
from .gstreamer import gst, packed

READ, WRITE = 1, 2


class _MapInfo(ctypes.Structure):
    """GstMapInfo, part of GStreamer 1's stable interface."""

    _fields_ = (
        ("memory", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("maxsize", ctypes.c_size_t),
        ("user_data", ctypes.c_void_p * 4),
        ("reserved", ctypes.c_void_p * 4),
    )


class _Mapping:
    """A mapped buffer as an array's memory; unmapped when the last array of it is gone."""

    def __init__(self, buffer: Any, flags: int) -> None:
        self._buffer, self._info = buffer, _MapInfo()
        self._is_mapped = bool(_library().gst_buffer_map(_address(buffer), self._info, flags))
        if not self._is_mapped:
            raise BackendError("GStreamer: a frame's memory cannot be read; ask the source for system memory")
        self.__array_interface__ = {
            "version": 3,
            "shape": (self._info.size,),
            "typestr": "|u1",
            "data": (self._info.data or 0, flags == READ),
        }

    def __del__(self) -> None:
        if self._is_mapped:
            _library().gst_buffer_unmap(_address(self._buffer), self._info)


def bytes_of(buffer: Any) -> NDArray[np.uint8]:
    """Returns the buffer's bytes, read-only; the buffer stays mapped, and alive, while an array of it is."""
    if is_direct():
        return np.asarray(_Mapping(buffer, READ))
    Gst = gst()
    is_mapped, memory = buffer.map(Gst.MapFlags.READ)
    if not is_mapped:
        raise BackendError("GStreamer: a frame's memory cannot be read; ask the source for system memory")
    try:
        return np.frombuffer(bytes(memory.data), np.uint8)
    finally:
        buffer.unmap(memory)


def new_buffer(planes: Sequence[NDArray[Any]]) -> Any:
    """Returns a Gst.Buffer that owns a copy of the planes, in GStreamer's default layout (`packed`)."""
    Gst = gst()
    if not is_direct():
        return Gst.Buffer.new_wrapped(packed(planes))
    rows = [plane.reshape(plane.shape[0], -1).view(np.uint8) for plane in planes]
    # Luma gets an even number of rows where chroma follows, and every row a multiple of 4 bytes.
    heights = [
        plane.shape[0] + (plane.shape[0] % 2 if index == 0 and len(rows) > 1 else 0)
        for index, plane in enumerate(rows)
    ]
    strides = [-(-plane.shape[1] // 4) * 4 for plane in rows]
    sizes = [height * stride for height, stride in zip(heights, strides, strict=True)]
    buffer = Gst.Buffer.new_allocate(None, sum(sizes), None)
    content = np.asarray(_Mapping(buffer, WRITE))
    start = 0
    for plane, height, stride, size in zip(rows, heights, strides, sizes, strict=True):
        target = content[start : start + size].reshape(height, stride)
        if target.shape != plane.shape:
            target[:] = 0
        target[: plane.shape[0], : plane.shape[1]] = plane
        start += size
    return buffer


def read_buffer(file: int, start: int, size: int) -> Any:
    """Returns a Gst.Buffer of `size` bytes of an open file from `start` on; ContractError at its end."""
    Gst = gst()
    if not is_direct():
        content = os.pread(file, size, start)
        _check_length(len(content), size)
        return Gst.Buffer.new_wrapped(content)
    buffer = Gst.Buffer.new_allocate(None, size, None)
    _check_length(os.preadv(file, [np.asarray(_Mapping(buffer, WRITE)).data], start), size)
    return buffer


def _check_length(got: int, size: int) -> None:
    if got != size:
        raise ContractError(f"expected {size} more bytes of the file, got {got}; it has been cut")


@lru_cache(maxsize=1)
def is_direct() -> bool:
    """Whether a buffer's address is known here: by PyGObject's hash, checked against its object's layout."""
    buffer = gst().Buffer.new_allocate(None, 8, None)
    held = ctypes.c_void_p.from_address(id(buffer) + object.__basicsize__).value
    return hash(buffer) == held


def _address(buffer: Any) -> int:
    return hash(buffer)


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    """The library that PyGObject has loaded already; its calls, of a microsecond, keep Python's lock."""
    library = ctypes.PyDLL("libgstreamer-1.0.so.0")
    library.gst_buffer_map.argtypes = (ctypes.c_void_p, ctypes.POINTER(_MapInfo), ctypes.c_int)
    library.gst_buffer_map.restype = ctypes.c_int
    library.gst_buffer_unmap.argtypes = (ctypes.c_void_p, ctypes.POINTER(_MapInfo))
    library.gst_buffer_unmap.restype = None
    return library
