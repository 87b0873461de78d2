"""Sets a control of a video device by its name: `control.py /dev/video0 "Disconnect" 1`."""

from __future__ import annotations

import fcntl
import os
import struct
import sys

QUERY_CONTROL, SET_CONTROL = 0xC0445624, 0xC008561C
NEXT_CONTROL = 0x80000000
CLASS_HEADING = 6


def control_id(device: int, wanted: str) -> int:
    """Returns the number of the control of that name; KeyError lists the names that there are."""
    number, names = NEXT_CONTROL, list[str]()
    while True:
        try:
            answer = fcntl.ioctl(device, QUERY_CONTROL, struct.pack("<I64x", number))
        except OSError:
            raise KeyError(f"{wanted!r} is not among {names}") from None
        found, kind, label = struct.unpack_from("<II32s", answer)
        name = label.partition(b"\0")[0].decode()
        if name == wanted and kind != CLASS_HEADING:
            return int(found)
        names.append(name)
        number = found | NEXT_CONTROL


if __name__ == "__main__":
    path, control, value = sys.argv[1:]
    descriptor = os.open(path, os.O_RDWR)
    fcntl.ioctl(descriptor, SET_CONTROL, struct.pack("<Ii", control_id(descriptor, control), int(value)))
