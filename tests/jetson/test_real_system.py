"""install.sh, the wheel and the service under a real systemd, with generated cameras and ONNX Runtime.

Made up are the release file, a module `tensorrt` that holds a version number, and what dpkg says of packages.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from .conftest import JETSON

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
RUNTIME = JETSON.parent / "runtime"
UNSHARE = ["unshare", "--mount", "--pid", "--cgroup", "--ipc", "--uts", "--net", "--fork", "--kill-child"]
CANNOT = 77
DPKG_QUERY = """#!/bin/bash
if [[ $* == *Version* ]]; then printf 10.3.0.30-1+cuda12.5; else printf '%s installed\\n' "${@:4}"; fi
"""


@dataclass(frozen=True)
class Machine:
    """What the commands of driver.sh left."""

    share: Path

    def code(self, name: str) -> int:
        """The exit code of the step."""
        return int((self.share / f"{name}.rc").read_text())

    def text(self, name: str) -> str:
        """What the step printed."""
        return (self.share / f"{name}.out").read_text()

    def properties(self, name: str) -> dict[str, str]:
        """What `systemctl show` printed."""
        return dict(line.split("=", 1) for line in self.text(name).splitlines())


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine that was installed, started, upgraded with a broken wheel, frozen, and uninstalled."""
    _skip_unless_possible()
    share = tmp_path_factory.mktemp("share")
    shutil.copytree(JETSON, share / "jetson")
    for name in ("driver.sh", "probe.py"):
        shutil.copy(HERE / name, share)
    (share / "probe.py").chmod(0o755)
    (share / "bin").mkdir()
    (share / "bin/dpkg-query").write_text(DPKG_QUERY)
    (share / "bin/dpkg-query").chmod(0o755)
    _write_rig(share / "rig.toml")
    _build_wheel(share)
    # pytest's folders are for their owner alone; the service has a user of its own.
    share.chmod(0o755)
    site = Path(np.__file__).parents[1]
    command = [*UNSHARE, "bash", str(HERE / "real_system.sh"), str(share), str(site)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    if done.returncode == CANNOT:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    assert (share / "left.rc").exists(), f"the machine stopped early: {done.stderr}"
    return Machine(share)


def test_installs_with_a_real_environment_and_wheel(machine: Machine) -> None:
    text = machine.text("install")

    assert machine.code("install") == 0, text
    assert "irvis: irvis video" in text
    assert "/etc/irvis/rig.toml and the model irvis-s are in order" in text
    assert "ready: `irvis fuse` runs here" in text
    assert "    start irvis-live.service\n" in text


def test_a_second_run_changes_nothing(machine: Machine) -> None:
    assert machine.code("again") == 0
    assert machine.text("again").endswith("Nothing changed.\n")


def test_the_service_fuses_in_its_sandbox(machine: Machine) -> None:
    status = json.loads(machine.text("status"))

    assert status["state"] == "fusing"
    assert status["frames"] > 0
    assert status["backend"] == "onnxruntime"
    assert machine.properties("show")["User"] == "irvis"
    assert machine.properties("show")["NRestarts"] == "0"
    assert machine.properties("show")["StatusText"].startswith("fusing, ")


def test_the_service_has_no_privilege(machine: Machine) -> None:
    process = dict(line.split(":\t", 1) for line in machine.text("process").splitlines() if ":\t" in line)

    assert {process[f"Cap{kind}"] for kind in ("Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert process["NoNewPrivs"] == "1"
    # 2: filtered system calls
    assert process["Seccomp"] == "2"


def test_files_belong_to_whom_they_should(machine: Machine) -> None:
    assert machine.text("rights").splitlines() == ["640 root irvis", "755 irvis irvis", "644 irvis irvis"]


def test_the_sandbox_opens_what_is_needed_alone(machine: Machine) -> None:
    found = json.loads((machine.share / "probe.json").read_text())

    assert machine.code("probe") == 0
    # /tmp is writable: Argus' socket lies there.
    for path in ("/dev/null", "/dev/nvmap", "/proc/cpuinfo", "/var/lib/irvis/x", "/run/irvis/x", "/tmp/x"):
        assert found[path] is None, path
    assert found["/dev/fuse"] == "EPERM"
    assert {found[path] for path in ("/opt/x", "/etc/x", "/usr/x")} == {"EROFS"}
    assert {found[path] for path in ("/home", "/root", "/etc/irvis/rig.toml")} == {"EACCES"}
    assert found["/proc/1/environ"] is not None


def test_the_list_of_devices_can_be_switched_off_as_the_readme_says(machine: Machine) -> None:
    found = json.loads((machine.share / "unlisted.json").read_text())

    assert found["/dev/fuse"] is None
    assert found["/opt/x"] == "EROFS"


def test_what_a_cut_off_run_owes_is_done_by_the_next(machine: Machine) -> None:
    text = machine.text("cut_off")

    assert machine.code("cut_off") == 0, text
    assert "    tell systemd of it\n    restart irvis-live.service\n" in text
    assert machine.code("cut_off_restart") == 0
    assert machine.properties("cut_off_reload") == {"NeedDaemonReload": "no"}
    assert machine.text("cut_off_over").endswith("Nothing changed.\n")


def test_a_rig_that_was_given_up_starts_again_as_the_readme_says(machine: Machine) -> None:
    assert machine.properties("given_up") == {"ActiveState": "failed"}
    assert machine.code("refused") != 0
    assert (machine.code("reset"), machine.code("reset_restart")) == (0, 0)
    assert machine.code("started_anew") == 0, machine.text("started_anew")
    assert machine.text("started_anew_is").strip() == "active"


def test_a_drop_in_takes_the_request_away_as_the_readme_says(machine: Machine) -> None:
    assert machine.text("silent").strip("\0\n") == "IRVIS_ARGUS_REQUEST="


def test_a_broken_wheel_leaves_the_service_running(machine: Machine) -> None:
    assert machine.code("broken") == 2
    assert "install.sh: error: could not make the environment" in machine.text("broken")
    assert machine.code("unharmed") == 0


def test_the_proof_names_the_module_that_is_missing(machine: Machine) -> None:
    text = machine.text("no_tensorrt")

    assert machine.code("no_tensorrt") == 2
    assert (
        "the module tensorrt cannot be imported (No module named 'tensorrt'); reinstall python3-libnvinfer"
        in text
    )
    assert text.splitlines()[-1].startswith("install.sh: error: the new installation does not work")


def test_a_doctor_that_says_not_ready_stops_the_installation(machine: Machine) -> None:
    assert machine.code("not_ready") == 2
    assert "    not ready: see MISSING above" in machine.text("not_ready")


def test_a_frozen_service_is_restarted_by_the_watchdog(machine: Machine) -> None:
    properties = machine.properties("watchdog")

    assert properties["ActiveState"] == "active"
    assert int(properties["NRestarts"]) >= 1


def test_argus_is_restarted_by_root_when_the_service_asks(machine: Machine) -> None:
    assert machine.text("argus_waits").strip() == "active"
    assert machine.code("argus_request") == 0
    assert machine.text("argus") == "started\nstarted\n"
    assert machine.properties("argus_answer") == {"Result": "success"}


def test_an_argus_that_cannot_be_restarted_is_asked_for_again_later(machine: Machine) -> None:
    assert machine.properties("argus_failure") == {"Result": "exit-code"}
    assert machine.text("argus_goes_on").strip() == "active"


def test_uninstall_stops_the_service_and_removes_it(machine: Machine) -> None:
    assert machine.code("uninstall") == 0
    assert machine.text("gone").strip() == "inactive"
    # The drop-in is the user's.
    assert machine.text("left").splitlines()[-1] == "/etc/systemd/system/irvis-live.service.d"


def test_uninstall_removes_an_older_installation(machine: Machine) -> None:
    assert machine.code("uninstall_old") == 0, machine.text("uninstall_old")
    assert machine.text("left_old") == ""


def _skip_unless_possible() -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None or not Path("/lib/systemd/systemd").exists():
        pytest.skip("needs root, unshare and systemd")
    if subprocess.run([*UNSHARE, "true"], capture_output=True, timeout=30, check=False).returncode:
        pytest.skip("namespaces cannot be made here")
    asked = ["/usr/bin/python3", "-c", "import ensurepip, gi, sys; print('%d.%d' % sys.version_info[:2])"]
    answer = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=False)
    ours = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if answer.stdout.strip() != ours:
        pytest.skip(f"needs /usr/bin/python3 {ours} with python3-venv and python3-gi")


def _write_rig(path: Path) -> None:
    """The example, with the backend that runs here, small pictures, and patience with a busy machine."""
    limits = "[limits]\nstart_ms = 60000\nrestart_ms = 60000\n"
    rig = (JETSON / "rig.example.toml").read_text()
    rig = rig.replace("test://?width=640&height=480&fps=30", "test://?width=160&height=128&fps=10")
    path.write_text(rig.replace("[fusion]\n", f'{limits}[fusion]\nbackend = "onnxruntime"\nthreads = 1\n'))


def _build_wheel(folder: Path) -> None:
    """Builds the wheel from a copy, so that the repository keeps no build folder."""
    copy = folder / "source"
    shutil.copytree(
        RUNTIME, copy, ignore=shutil.ignore_patterns("build", "dist", "*.egg-info", "__pycache__")
    )
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
