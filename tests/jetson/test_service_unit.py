"""The scripts, the unit, the example rig and the README, by the tools that judge them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from configparser import ConfigParser
from pathlib import Path

import pytest

from irvis_runtime.cameras.argus import REQUEST, Argus
from irvis_runtime.cameras.sources import make_source
from irvis_runtime.config import from_mapping
from irvis_runtime.rig import LimitsConfig, OutputConfig, load_rig
from irvis_runtime.sinks.destinations import make_sink

from .conftest import JETSON

UNIT = JETSON / "irvis-live.service"
EXAMPLE = JETSON / "rig.example.toml"
# systemd's own measure, from 0 (locked in) to 10; a unit without any protection has 9.6.
MAX_EXPOSURE = 2.0


def test_scripts_are_clean_for_shellcheck() -> None:
    scripts = sorted(map(str, [*JETSON.glob("*.sh"), *Path(__file__).parent.glob("*.sh")]))

    done = _tool("shellcheck", *scripts)

    assert len(scripts) >= 3
    assert done.returncode == 0, done.stdout


def test_unit_is_clean_for_systemd(tmp_path: Path) -> None:
    unit = _runnable_unit(tmp_path)

    done = _tool("systemd-analyze", "verify", "--man=no", str(unit))

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_units_of_argus_are_clean_for_systemd() -> None:
    units = [str(JETSON / f"irvis-argus.{kind}") for kind in ("path", "service")]

    done = _tool("systemd-analyze", "verify", "--man=no", *units)

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_service_asks_where_the_unit_of_argus_waits() -> None:
    waits = re.search(r"^PathExists=(.+)$", (JETSON / "irvis-argus.path").read_text(), re.MULTILINE)

    assert waits is not None
    assert f"Environment={REQUEST}={waits[1]}\n" in UNIT.read_text()
    assert f"ExecStart=/bin/rm -f {waits[1]}\n" in (JETSON / "irvis-argus.service").read_text()


def test_verify_would_see_a_wrong_unit(tmp_path: Path) -> None:
    unit = _runnable_unit(tmp_path)
    unit.write_text(unit.read_text().replace("ProtectHome=yes", "ProtectHome=perhaps"))

    done = _tool("systemd-analyze", "verify", "--man=no", str(unit))

    assert "protect home" in done.stderr


def test_unit_is_hardened() -> None:
    threshold = f"--threshold={MAX_EXPOSURE * 10:.0f}"

    done = _tool("systemd-analyze", "security", "--offline=yes", threshold, "--no-pager", str(UNIT))
    if "unrecognized option" in done.stderr:
        pytest.skip("needs systemd 250 or later (security --offline)")

    assert done.returncode == 0, done.stdout


def test_a_wrong_rig_is_given_up_and_an_absent_camera_is_not() -> None:
    """systemd refuses start number StartLimitBurst + 1 within StartLimitIntervalSec of the first."""
    unit, service = _sections()
    window_s, tries = float(unit["StartLimitIntervalSec"]), int(unit["StartLimitBurst"])
    pause_s = float(service["RestartSec"])
    # To import everything and say what is wrong with the rig: 0.7 s of CPU on x86-64, 1.5 s where it is busy.
    refusal_s = 4.0
    # The least that README.md promises, and the default.
    for start_ms in (_promised_start_ms(), LimitsConfig().start_ms):
        # As live/loop.py ends a start that brings no picture; what the process needs besides makes it longer.
        no_picture_s = 1.5 * start_ms / 1e3
        assert tries * (pause_s + refusal_s) < window_s < tries * (pause_s + no_picture_s)
        assert no_picture_s < 60 * float(service["TimeoutStartSec"].removesuffix("min"))
    assert service["Restart"] == "on-failure"


def test_the_list_of_devices_is_made_after_the_cameras_driver_is_loaded() -> None:
    """A name that /proc/devices lacks at the start is left out of the list (systemd.resource-control(5))."""
    module = "modprobe@videodev.service"

    assert "char-video4linux rw" in _settings("DeviceAllow")
    assert module in _settings("Wants")
    assert module in " ".join(_settings("After")).split()


def test_the_proof_keeps_its_engine_where_the_service_looks_for_one() -> None:
    """`irvis doctor` is left out below --root; it runs in test_real_system.py."""
    folder = re.search(r"^readonly STATE_FOLDER=(.+)$", (JETSON / "service.sh").read_text(), re.MULTILINE)

    assert folder is not None
    assert _settings("StateDirectory") == [Path(folder[1]).name]
    assert _settings("StateDirectoryMode") == []
    assert f"IRVIS_CACHE={folder[1]}" in " ".join(_settings("Environment")).split()
    assert 'runuser -u "$SERVICE_USER" -- env HOME=/nonexistent IRVIS_CACHE="$STATE_FOLDER"' in (
        (JETSON / "release.sh").read_text()
    )


def test_a_drop_in_forbids_the_request_as_the_readme_says(monkeypatch: pytest.MonkeyPatch) -> None:
    forbids = re.search(r"`Environment=(\w+)=(\S*)`", (JETSON / "README.md").read_text())
    assert forbids is not None
    assert forbids[1] == REQUEST
    lines: list[str] = []
    monkeypatch.setenv(REQUEST, forbids[2])

    Argus().ask_for_restart(lines.append)

    assert len(lines) == 1
    assert lines[0].startswith("this run may not ask for a restart of nvargus-daemon")


def test_the_power_mode_is_set_first() -> None:
    after = " ".join(_settings("After")).split()

    assert {"nv.service", "nvpower.service", "nvpmodel.service", "nvargus-daemon.service"} <= set(after)


def test_unit_calls_irvis_live_with_the_rig_and_a_status_file() -> None:
    _, service = _sections()

    assert service["ExecStart"] == (
        "/opt/irvis/venv/bin/irvis live /etc/irvis/rig.toml --status /run/irvis/status.json"
    )
    assert (service["Type"], service["User"], service["RuntimeDirectory"]) == ("notify", "irvis", "irvis")
    # Argus' socket is /tmp/argus_socket.
    assert service["PrivateTmp"] == "no"


def test_example_rig_needs_no_camera() -> None:
    rig = load_rig(EXAMPLE)

    assert rig.visible.source.startswith("test://")
    assert rig.infrared.source.startswith("test://")
    assert [output.sink for output in rig.output] == ["null://"]


def _suggestions() -> list[tuple[str, str, str]]:
    """Section, key and value of each line of the example that is commented out."""
    found, section = [], ""
    for line in EXAMPLE.read_text().splitlines():
        if heading := re.fullmatch(r"(?:# )?\[+(\w+)\]+", line):
            section = heading[1]
        elif setting := re.fullmatch(r"# (\w+) = (.+)", line):
            found.append((section, setting[1], setting[2]))
    return found


@pytest.mark.parametrize(("section", "key", "value"), _suggestions())
def test_what_the_example_rig_suggests_is_accepted(section: str, key: str, value: str) -> None:
    if key == "sink":
        sink = OutputConfig(json.loads(value))
        assert sink.sink.startswith("file://") or make_sink(sink, print).uri == sink.sink
        return
    if section == "output":
        table = {"sink": "file://film.mkv", key: json.loads(value)}
        assert getattr(from_mapping(OutputConfig, table, "example"), key) == json.loads(value)
        return
    rig = load_rig(EXAMPLE, [f"{section}.{key}={value}"])
    if section == "visible":
        assert make_source(rig.visible.source, "visible", "jetson").uri == json.loads(value)
    if section == "infrared":
        assert make_source(rig.infrared.source, "infrared", "jetson").uri == json.loads(value)


def test_the_example_rig_suggests_every_kind_of_camera_and_output() -> None:
    kinds = {(key, json.loads(value).split(":")[0]) for _, key, value in _suggestions() if "://" in value}

    assert {
        ("source", "csi"),
        ("source", "v4l2"),
        ("source", "rtsp"),
        ("sink", "rtp"),
        ("sink", "file"),
    } <= kinds


def test_readme_shows_the_help() -> None:
    command = ["bash", str(JETSON / "install.sh"), "--help"]
    text = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout

    assert text.strip() in (JETSON / "README.md").read_text()


def test_readme_says_that_it_never_ran_on_a_board() -> None:
    assert "never run on a board" in (JETSON / "README.md").read_text().lower()


def _tool(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which(name) is None:
        pytest.skip(f"needs {name}")
    return subprocess.run([name, *arguments], capture_output=True, text=True, timeout=60, check=False)


def _runnable_unit(folder: Path) -> Path:
    """A copy of the unit whose command exists."""
    command = folder / "irvis"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    unit = folder / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/irvis/venv/bin/irvis", str(command)))
    return unit


def _promised_start_ms() -> float:
    promise = re.search(r"`limits.start_ms` is (\d+) or more", (JETSON / "README.md").read_text())
    assert promise is not None
    return float(promise[1])


def _settings(key: str) -> list[str]:
    """The values of a key that the unit may name more than once."""
    return re.findall(rf"^{key}=(.*)$", UNIT.read_text(), re.MULTILINE)


def _sections() -> tuple[Mapping[str, str], Mapping[str, str]]:
    parser = ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    # systemd's keys differ by case.
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT.read_text())
    return parser["Unit"], parser["Service"]
