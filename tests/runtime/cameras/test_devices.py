"""A replugged camera is found by what the kernel says of it, in trees like those of /sys."""

from __future__ import annotations

from pathlib import Path

import pytest

from irvis_runtime.cameras.camera import Camera
from irvis_runtime.cameras.devices import find_device, identify
from irvis_runtime.cameras.sources import make_source
from irvis_runtime.errors import BackendError


class Machine:
    """A made /sys with USB and platform cameras."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def plug(self, number: int, port: str, *, name: str = "Boson", serial: str = "", index: int = 0) -> None:
        """Gives a camera a node; a port of USB is as in 1-2.3."""
        device = self.root / "sys/devices/usb1" / port / f"{port}:1.0"
        device.mkdir(parents=True, exist_ok=True)
        for key, value in (("idVendor", "09cb"), ("idProduct", "4007"), ("serial", serial)):
            if value:
                (device.parent / key).write_text(f"{value}\n")
        entry = device / "video4linux" / f"video{number}"
        entry.mkdir(parents=True)
        (entry / "name").write_text(f"{name}\n")
        (entry / "index").write_text(f"{index}\n")
        (entry / "device").symlink_to(device)
        (self.root / "sys/class/video4linux").mkdir(parents=True, exist_ok=True)
        (self.root / f"sys/class/video4linux/video{number}").symlink_to(entry)
        (self.root / "dev").mkdir(exist_ok=True)
        (self.root / f"dev/video{number}").touch()

    def unplug(self, number: int) -> None:
        """Takes a node away."""
        entry = self.root / f"sys/class/video4linux/video{number}"
        for path in (entry.resolve() / "name", entry.resolve() / "index", entry.resolve() / "device"):
            path.unlink()
        entry.resolve().rmdir()
        entry.unlink()
        (self.root / f"dev/video{number}").unlink()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_camera_keeps_its_port_and_changes_its_number(machine: Machine) -> None:
    machine.plug(0, "1-2")
    wanted = identify(Path("/dev/video0"), machine.root)
    assert wanted is not None
    assert (wanted.name, wanted.product, wanted.index) == ("Boson", "09cb:4007", "0")
    machine.unplug(0)
    assert find_device(wanted, machine.root) is None
    machine.plug(2, "1-2")
    assert find_device(wanted, machine.root) == Path("/dev/video2")


def test_a_serial_number_is_known_at_any_port_and_a_twin_is_not_taken(machine: Machine) -> None:
    machine.plug(0, "1-2", serial="A1")
    wanted = identify(Path("/dev/video0"), machine.root)
    assert wanted is not None
    machine.unplug(0)
    machine.plug(0, "1-3", serial="B2")
    assert find_device(wanted, machine.root) is None
    machine.plug(4, "1-4", serial="A1")
    assert find_device(wanted, machine.root) == Path("/dev/video4")


def test_without_serial_numbers_the_port_decides_and_doubt_finds_none(machine: Machine) -> None:
    machine.plug(0, "1-2")
    wanted = identify(Path("/dev/video0"), machine.root)
    assert wanted is not None
    machine.unplug(0)
    machine.plug(5, "1-7")
    assert find_device(wanted, machine.root) == Path("/dev/video5")
    machine.plug(6, "1-8")
    assert find_device(wanted, machine.root) is None
    machine.plug(7, "1-2", index=1)
    assert find_device(wanted, machine.root) is None
    machine.plug(8, "1-2", index=0)
    assert find_device(wanted, machine.root) == Path("/dev/video8")


def test_a_link_by_id_is_the_camera_behind_it(machine: Machine) -> None:
    machine.plug(3, "1-2")
    link = machine.root / "dev/v4l/by-id/usb-FLIR_Boson-video-index0"
    link.parent.mkdir(parents=True)
    link.symlink_to("../../video3")
    by_id = identify(Path("/dev/v4l/by-id/usb-FLIR_Boson-video-index0"), machine.root)
    assert by_id == identify(Path("/dev/video3"), machine.root)
    assert identify(Path("/dev/video9"), machine.root) is None


@pytest.mark.usefixtures("gstreamer")
def test_a_lost_camera_is_opened_where_it_is_now_and_a_stranger_in_its_place_is_not(machine: Machine) -> None:
    machine.plug(0, "1-2", serial="A1")
    lines: list[str] = []
    source = make_source("v4l2:///dev/video0", "infrared", "generic")
    camera = Camera("infrared", source, lambda frame: None, lines.append, root=machine.root)
    assert camera.located().properties["source"]["device"] == "/dev/video0"
    camera.remember_device()
    machine.unplug(0)
    machine.plug(0, "1-3", serial="B2")
    with pytest.raises(BackendError, match="Boson is not plugged in"):
        camera.located()
    machine.plug(2, "1-4", serial="A1")
    assert camera.located().properties["source"]["device"] == "/dev/video2"
    assert lines == ["infrared camera found as /dev/video2"]
    machine.unplug(0)
    machine.unplug(2)
    machine.plug(0, "1-2", serial="A1")
    assert camera.located().properties["source"]["device"] == "/dev/video0"
