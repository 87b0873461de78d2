from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from irvis_runtime.__main__ import main as irvis
from irvis_runtime.doctor.check import MISSING, OK, WARNING, Check
from irvis_runtime.doctor.command import Diagnosis, diagnose, table
from irvis_runtime.doctor.fusing import (
    check_disk,
    check_fast_int8,
    check_jetson,
    check_kernels,
    check_memory,
    check_openvino,
)
from irvis_runtime.kernels.library import describe_kernels, kernels

WITHOUT_MODULE = """
import sys
sys.modules.update(dict.fromkeys(sys.argv[1:]))  # an import of them fails as if they were not installed
from irvis_runtime.__main__ import main
sys.exit(main(["doctor"]))
"""


@pytest.fixture(scope="module")
def diagnosis() -> Diagnosis:
    """What the doctor finds on the machine that runs the tests."""
    return diagnose()


def run_without(
    *modules: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_MODULE, *modules],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment,
    )


def test_a_machine_that_runs_the_tests_is_ready(diagnosis: Diagnosis) -> None:
    found = {check.name: check for check in diagnosis.checks}
    assert diagnosis.is_ready
    assert found["Test fusion"].status == OK
    assert found["Test fusion"].found.startswith("128 x 96 pixels")
    assert "fp32" in found["Shipped model"].found
    assert "CPU" in found["ONNX Runtime"].found.partition(" for ")[2]
    listed, _, taken = found["Backend"].found.partition("; auto takes ")
    assert "ONNX Runtime" in listed
    assert taken.partition(": ")[2]
    assert len(found) == len(diagnosis.checks)


def test_what_is_not_ok_says_what_to_do(diagnosis: Diagnosis) -> None:
    for check in diagnosis.checks:
        assert check.found
        assert check.status == OK or check.advice, check.name


def test_the_table_names_every_check(diagnosis: Diagnosis) -> None:
    text = table(diagnosis, width=90)
    for check in diagnosis.checks:
        assert f"\n{check.name}" in f"\n{text}"
    assert max(map(len, text.splitlines())) <= 90
    assert text.endswith("ready: `irvis fuse` runs here\n")


def test_only_what_is_required_decides(diagnosis: Diagnosis) -> None:
    optional = Check("Extra", WARNING, "absent", "install it")
    shown = table(Diagnosis(1, "", "", True, diagnosis.board, (optional,)), width=60)
    assert "warning" in shown
    assert "-> install it" in shown


def test_the_command_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "doctor.json"
    assert irvis(["doctor", "--json", str(path)]) == 0
    content = json.loads(path.read_text())
    assert content["is_ready"] is True
    assert {check["status"] for check in content["checks"]} <= {OK, WARNING, MISSING}
    assert content["board"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert "Test fusion" in capsys.readouterr().out


def test_without_any_backend_the_doctor_says_so_and_ends_with_1() -> None:
    done = run_without("onnxruntime", "openvino")
    told = [" ".join(line.split()) for line in done.stdout.splitlines()]
    if any(line.startswith("TensorRT ok") for line in told):
        pytest.skip("this machine has TensorRT, so it is ready without ONNX Runtime")
    assert done.returncode == 1, done.stderr
    assert any(line.startswith("Backend MISSING") for line in told)
    assert "pip install onnxruntime" in done.stdout
    assert "not ready" in done.stdout


def test_the_optional_backend_counts_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("irvis_runtime.doctor.fusing.module_version", lambda module: ("2026.4.1-22982-x", ""))
    assert check_openvino() == Check("OpenVINO", OK, "2026.4.1")
    monkeypatch.setattr("irvis_runtime.doctor.fusing.module_version", lambda module: (None, "no module"))
    assert check_openvino().status == WARNING
    assert "pip install openvino" in check_openvino().advice


def test_kernels_are_told_and_not_required() -> None:
    without = run_without(environment={**os.environ, "IRVIS_KERNELS": "off"})
    assert without.returncode == 0, without.stderr
    told = " ".join(without.stdout.split())
    assert "Kernels warning none (IRVIS_KERNELS=off)" in told
    assert "make install" in told
    if kernels() is None:
        pytest.skip(describe_kernels())
    assert check_kernels() == Check("Kernels", OK, f"compiled, {platform.machine()}")


def test_without_opencv_the_doctor_still_runs() -> None:
    done = run_without("cv2")
    assert done.returncode == 1, done.stderr
    assert any(line.split()[:2] == ["OpenCV", "MISSING"] for line in done.stdout.splitlines())
    assert "Traceback" not in done.stderr


def test_without_gstreamer_live_alone_is_out_of_reach() -> None:
    done = run_without("gi")
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line[:1] not in ("", " ")]
    warned = {line.split("  ")[0] for line in lines if " warning " in line}
    assert {
        "GStreamer", "Sources", "Outputs", "H.264 decoder", "H.264 encoder", "RTSP server", "TLS", "Display"
    } <= warned  # fmt: skip
    assert "apt-get install python3-gi" in " ".join(done.stdout.split())


def test_a_fake_board_is_read_from_its_root(tmp_path: Path) -> None:
    for name, content in {
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 1\n",
        "proc/device-tree/model": "NVIDIA Jetson Orin NX\0",
        "var/lib/nvpmodel/status": "pmode:0001\n",
        "etc/nvpmodel.conf": "< POWER_MODEL ID=1 NAME=25W >\n",
        "proc/cpuinfo": "Features\t: asimd asimddp\nCPU implementer\t: 0x41\nCPU part\t: 0xd42\n",
        "proc/meminfo": "MemTotal: 8000000 kB\nMemAvailable: 500000 kB\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert check_jetson(tmp_path).found == "NVIDIA Jetson Orin NX, L4T 36.4.3, power mode 25W"
    assert check_fast_int8(tmp_path).status == OK
    memory = check_memory(tmp_path)
    assert (memory.status, memory.found) == (WARNING, "488 of 7812 MiB free")


def test_a_bare_root_gives_warnings_and_no_error(tmp_path: Path) -> None:
    assert check_fast_int8(tmp_path).status == WARNING
    assert check_memory(tmp_path).status == WARNING
    assert check_jetson(tmp_path).status == OK
    assert check_disk(tmp_path).found.endswith(str(tmp_path))
