"""What becomes of the live picture when a v4l2 camera is unplugged, stops, slows, fails or is renumbered.

One run of `irvis live` goes through them all, as a board in the field does; each test begins and ends with
both cameras fused, and notes the longest time between two pictures (`--junit-xml FILE` has it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import sub

import pytest

from .live_run import LONGEST_GAP_S, RIG, LiveRun
from .machine import Machine

pytestmark = pytest.mark.slow

WITHOUT = {"visible": "infrared-only", "infrared": "visible-only"}
each_camera = pytest.mark.parametrize("role", WITHOUT)


@pytest.fixture(scope="module")
def whole_run(machine: Machine) -> Iterator[LiveRun]:
    """The run, begun with two good cameras."""
    with LiveRun(machine, "faults", RIG.replace("VISIBLE", "yuyv")) as run:
        yield run


@pytest.fixture
def live(whole_run: LiveRun, record_property: Callable[[str, object], None]) -> Iterator[LiveRun]:
    """The run, from both cameras fused to both fused again, in which the picture never stops."""
    whole_run.goes_on("fusing")
    before = len(whole_run.pushed_s())
    yield whole_run
    times_s = whole_run.pushed_s()[before - 1 :]
    longest_gap_s = max(map(sub, times_s[1:], times_s))
    record_property("longest_gap_s", round(longest_gap_s, 2))
    assert longest_gap_s < LONGEST_GAP_S


@contextmanager
def held_open(machine: Machine, *devices: str) -> Iterator[None]:
    """Keeps devices open: vivid gives one back, and Linux its number, when the last user is gone."""
    opened = " ".join(f"{number}<>{device}" for number, device in enumerate(devices, 7))
    pid = machine.run(f"exec {opened}; exec sleep 100000 >/dev/null 2>&1 & echo $!").strip()
    try:
        yield
    finally:
        machine.run(f"kill {pid}; while kill -0 {pid} 2>/dev/null; do sleep 0.1; done")


def unplug_all(machine: Machine) -> None:
    """Takes both cameras away from under their users."""
    machine.run("echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind")


def plug_all(machine: Machine) -> None:
    """Brings both cameras back, under the first numbers that nobody uses."""
    machine.run("echo vivid.0 >/sys/bus/platform/drivers/vivid/bind; udevadm settle")


@each_camera
def test_frozen(machine: Machine, live: LiveRun, role: str) -> None:
    """The device is there and open, and gives no frame."""
    device = f"/dev/cameras/{role}"
    machine.set_control(device, "Percentage of Dropped Buffers", 100)
    try:
        live.goes_on(WITHOUT[role])
        status = live.until(lambda status: "no frame for" in status["cameras"][role])
        assert status["cameras"][role].startswith("lost: ")
        live.goes_on(WITHOUT[role])
    finally:
        machine.set_control(device, "Percentage of Dropped Buffers", 0)
    live.goes_on("fusing")


@each_camera
def test_slow(machine: Machine, live: LiveRun, role: str) -> None:
    """Of ten frames a second six come: late is not lost."""
    device = f"/dev/cameras/{role}"
    told = len(live.log())
    machine.set_control(device, "Percentage of Dropped Buffers", 40)
    try:
        status = live.goes_on("fusing", frames=8)
    finally:
        machine.set_control(device, "Percentage of Dropped Buffers", 0)
    assert status["cameras"][role] == "running"
    assert [line for line in live.log()[told:] if f"{role} camera lost" in line] == []


@each_camera
def test_too_slow(machine: Machine, live: LiveRun, role: str) -> None:
    """Of ten frames a second one or two come, below `slow_fps`: the camera is opened again."""
    device = f"/dev/cameras/{role}"
    told = len(live.log())
    machine.set_control(device, "Percentage of Dropped Buffers", 85)
    try:
        live.until(
            lambda status: any(f"{role} camera lost: too slow: " in line for line in live.log()[told:])
        )
        live.until(lambda status: status["cameras"][role] == "running")
    finally:
        machine.set_control(device, "Percentage of Dropped Buffers", 0)
    live.goes_on("fusing")


@each_camera
def test_a_failing_driver(machine: Machine, live: LiveRun, role: str) -> None:
    """The driver ends the stream with an error; the device stays and works when it is opened again."""
    told = len(live.log())
    machine.set_control(f"/dev/cameras/{role}", "Inject Fatal Streaming Error", 1)
    live.until(lambda status: any(f"{role} camera lost" in line for line in live.log()[told:]))
    live.goes_on("fusing")


@each_camera
def test_unplugged(machine: Machine, live: LiveRun, role: str) -> None:
    """One camera is away, the other is the picture; after the return of both they are fused again."""
    device = f"/dev/cameras/{role}"
    told = len(live.log())
    with held_open(machine, device):
        machine.set_control(device, "Disconnect", 1)
        live.goes_on(WITHOUT[role])
        status = live.goes_on(WITHOUT[role])
        assert status["cameras"][role].startswith("lost: ")
        assert any(line.startswith(f"irvis live: {role} camera lost: ") for line in live.log()[told:])
        unplug_all(machine)
        plug_all(machine)
        status = live.goes_on("fusing")
    assert status["cameras"] == {"visible": "running", "infrared": "running"}


def test_replugged_under_other_numbers(machine: Machine, live: LiveRun) -> None:
    """udev's names stay while the numbers of both cameras change."""
    names = "/dev/cameras/visible /dev/cameras/infrared"
    before = machine.run(f"readlink -f {names}").split()
    with held_open(machine, *before):
        unplug_all(machine)
        live.until_state("no-cameras")
        plug_all(machine)
        after = machine.run(f"readlink -f {names}").split()
        assert not set(before) & set(after)
        status = live.goes_on("fusing")
    assert status["cameras"] == {"visible": "running", "infrared": "running"}
