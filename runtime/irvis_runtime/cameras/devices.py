"""Which camera a /dev/video node is, and where that camera is now: a replugged one gets another number."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")
CLASS = "sys/class/video4linux"


@dataclass(frozen=True)
class Identity:
    """What the kernel says of a video node, empty where it says nothing.

    `index`: which of a camera's several nodes. `product`: USB vendor and product. `port`: the device's place
    in /sys, which a camera keeps that is plugged in where it was.
    """

    name: str
    index: str
    product: str
    serial: str
    port: str


def identify(node: Path, root: Path = ROOT) -> Identity | None:
    """Returns the camera behind a node or a link to one; None where the kernel knows no such node."""
    entry = root / CLASS / (root / str(node).lstrip("/")).resolve().name
    if not entry.exists():
        return None
    device = (entry / "device").resolve()
    usb = next((folder for folder in (device, *device.parents) if (folder / "idVendor").is_file()), None)
    product = "" if usb is None else f"{_read(usb / 'idVendor')}:{_read(usb / 'idProduct')}"
    serial = "" if usb is None else _read(usb / "serial")
    port = str(device.relative_to(root.resolve())) if device.is_relative_to(root.resolve()) else str(device)
    return Identity(_read(entry / "name"), _read(entry / "index"), product, serial, port)


def find_device(wanted: Identity, root: Path = ROOT) -> Path | None:
    """Returns the node of this camera now; None where it is away, or cannot be told from another.

    A camera with a serial number is known by it at any port. One without is the one at the same port, or the
    only one of its kind.
    """
    nodes = sorted((root / CLASS).glob("video*"), key=lambda entry: int(re.sub(r"\D", "", entry.name) or 0))
    alike: list[tuple[Path, Identity]] = []
    for entry in nodes:
        found = identify(Path("/dev") / entry.name, root)
        if found is not None and _kind(found) == _kind(wanted):
            alike.append((Path("/dev") / entry.name, found))
    at_port = [node for node, found in alike if found.port == wanted.port]
    if at_port:
        return at_port[0]
    return alike[0][0] if len(alike) == 1 else None


def _kind(identity: Identity) -> tuple[str, str, str, str]:
    return identity.name, identity.index, identity.product, identity.serial


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
