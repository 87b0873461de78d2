"""What a v4l2 device sends, by the kernel's own words (linux/videodev2.h)."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

# struct v4l2_capability: driver, card, bus_info, version, capabilities, device_caps, reserved.
_CAPABILITY = struct.Struct("=16s32s32sIII12x")
_QUERYCAP = 0x80685600
_VIDEO_CAPTURE = 0x1
# struct v4l2_fmtdesc: index, type, flags, description, pixelformat, mbus_code, reserved.
_FORMAT = struct.Struct("=III32s4sI12x")
_ENUM_FMT = 0xC0405602
_CAPTURE_BUFFERS = 1
_MAX_FORMATS = 64


def capture_formats(device: Path) -> tuple[str, ...]:
    """Returns the fourccs of the pictures that the device sends, none where it sends none.

    As the kernel writes them: "YUYV", "MJPG", "NV12", "GREY", "Y16". OSError where it cannot be asked.
    """
    file = os.open(device, os.O_RDONLY | os.O_NONBLOCK)
    try:
        answer = fcntl.ioctl(file, _QUERYCAP, bytes(_CAPABILITY.size))
        if not _CAPABILITY.unpack(answer)[5] & _VIDEO_CAPTURE:
            return ()
        return tuple(_formats(file))
    finally:
        os.close(file)


def _formats(file: int) -> list[str]:
    found: list[str] = []
    for index in range(_MAX_FORMATS):
        asked = _FORMAT.pack(index, _CAPTURE_BUFFERS, 0, b"", b"", 0)
        try:
            answer = fcntl.ioctl(file, _ENUM_FMT, asked)
        except OSError:
            # EINVAL: that was the last one.
            break
        found.append(_FORMAT.unpack(answer)[4].decode("ascii", "replace").strip())
    return found
