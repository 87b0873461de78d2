"""One virtual machine with two cameras of the kernel's test driver, for all tests of real v4l2 devices."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import irvis_runtime
from irvis_runtime.errors import BackendError
from irvis_runtime.gstreamer import gst

from .machine import Machine
from .packages import MissingPackagesError, fetch_packages

# What an integrator writes for cameras without a serial number: names that stay when the numbers change.
UDEV_RULES = """\
SUBSYSTEM=="video4linux", ATTR{name}=="vivid-000-vid-cap", SYMLINK+="cameras/visible"
SUBSYSTEM=="video4linux", ATTR{name}=="vivid-001-vid-cap", SYMLINK+="cameras/infrared"
"""


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The machine, booted; skips where its packages or GStreamer are absent."""
    try:
        gst()
        packages = fetch_packages()
    except (BackendError, MissingPackagesError) as error:
        pytest.skip(f"the virtual machine with v4l2 cameras is not here: {error}")
    folder = tmp_path_factory.mktemp("machine")
    machine = Machine(packages, folder, _environment(folder))
    try:
        rules = shlex.quote(UDEV_RULES)
        machine.run(f"mkdir -p /run/udev/rules.d; printf %s {rules} >/run/udev/rules.d/90-cameras.rules")
        machine.run("udevadm control --reload; udevadm trigger --settle --subsystem-match=video4linux")
        for name in ("visible", "infrared"):
            # The default, the end of a frame, lies in the future as vivid counts, and GStreamer ignores it.
            machine.set_control(f"/dev/cameras/{name}", "Timestamp Source", 1)
        yield machine
    finally:
        machine.close()


def _environment(folder: Path) -> dict[str, str]:
    """The tests' own code, and GStreamer's list of plugins, which takes a minute to make in the guest."""
    registry = str(folder / "gstreamer.registry")
    listing = [sys.executable, "-c", "from irvis_runtime.gstreamer import gst; gst()"]
    path = str(Path(irvis_runtime.__file__).parents[1])
    environment = {"PYTHONPATH": path, "GST_REGISTRY": registry}
    subprocess.run(listing, env={**os.environ, **environment}, check=True, timeout=300)
    return {**environment, "GST_REGISTRY_UPDATE": "no", "OMP_WAIT_POLICY": "passive"}
