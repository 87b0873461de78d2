from __future__ import annotations

from pathlib import Path

import pytest

from irvis_runtime.board import (
    Board,
    Jetson,
    board_slug,
    cpu_model,
    describe,
    has_fast_int8,
    instruction_sets,
    load_average,
    memory_mb,
    module_version,
    read_board,
    read_jetson,
    temperatures_c,
)

# Written after /proc/cpuinfo of the machines named; only lines that matter were kept.
ORIN_CPUINFO = """processor\t: 0
BogoMIPS\t: 62.50
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd42
CPU revision\t: 1
"""
PI4_CPUINFO = """processor\t: 0
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU part\t: 0xd08
"""
XEON_CPUINFO = """processor\t: 0
model name\t: Intel(R) Xeon(R)   Gold 6248R CPU @ 3.00GHz
flags\t\t: fpu vme sse2 fma avx2 avx512f avx512_vnni
"""
CORE2_CPUINFO = """processor\t: 0
model name\t: Intel(R) Core(TM)2 Duo CPU     E8400  @ 3.00GHz
flags\t\t: fpu vme sse2 ssse3 sse4_1
"""
# First line of the file on an Orin Nano with JetPack 6.2.
L4T = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8 2025\n"
# /etc/nvpmodel/nvpmodel_p3767_0003_super.conf: the lines that name modes.
NVPMODEL = """< POWER_MODEL ID=0 NAME=15W >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=1 NAME=25W >
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
< PM_CONFIG DEFAULT=1 >
"""
MODEL = "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super"


def install(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


@pytest.fixture
def orin(tmp_path: Path) -> Path:
    zones = {"cpu-thermal": "53968", "gpu-thermal": "52437", "cv0-thermal": "-256000"}
    files = {
        "proc/cpuinfo": ORIN_CPUINFO,
        "proc/meminfo": "MemTotal:        7802788 kB\nMemFree:  100 kB\nMemAvailable:    2048000 kB\n",
        "proc/loadavg": "1.25 0.80 0.31 2/532 12034\n",
        "proc/device-tree/model": MODEL + "\0",
        "proc/sys/kernel/osrelease": "5.15.148-tegra\n",
        "etc/nv_tegra_release": L4T,
        "etc/nvpmodel.conf": NVPMODEL,
        "var/lib/nvpmodel/status": "pmode:0002 fmode:fanNull\n",
    }
    for number, (kind, value) in enumerate(zones.items()):
        files[f"sys/class/thermal/thermal_zone{number}/type"] = f"{kind}\n"
        files[f"sys/class/thermal/thermal_zone{number}/temp"] = f"{value}\n"
    return install(tmp_path, files)


def test_a_jetson_is_read_from_its_files(orin: Path) -> None:
    board = read_board(orin)
    assert board.jetson == Jetson(MODEL, "36.4.3", 2, "MAXN_SUPER")
    assert (board.cpu, board.has_fast_int8, board.memory_mb) == ("Cortex-A78AE", True, 7619)
    assert board.kernel == "5.15.148-tegra"
    assert "asimddp" in board.instruction_sets


def test_sleeping_thermal_zones_are_left_out(orin: Path) -> None:
    assert temperatures_c(orin) == {"cpu-thermal": 53.968, "gpu-thermal": 52.437}


def test_a_slug_names_board_and_mode(orin: Path) -> None:
    board = read_board(orin)
    assert board_slug(board) == "jetson-orin-nano-super-maxn-super"
    assert describe(board) == "Jetson Orin Nano Super, MAXN_SUPER"


def test_load_and_free_memory(orin: Path) -> None:
    assert load_average(orin) == 1.25
    assert memory_mb(orin, "MemAvailable") == 2000


@pytest.mark.parametrize(
    ("cpuinfo", "cpu", "is_fast"),
    [
        (ORIN_CPUINFO, "Cortex-A78AE", True),
        (PI4_CPUINFO, "Cortex-A72", False),
        (XEON_CPUINFO, "Intel(R) Xeon(R) Gold 6248R CPU @ 3.00GHz", True),
        (CORE2_CPUINFO, "Intel(R) Core(TM)2 Duo CPU E8400 @ 3.00GHz", False),
        (XEON_CPUINFO.replace("avx512_vnni", "avx_vnni"), "Intel(R) Xeon(R) Gold 6248R CPU @ 3.00GHz", True),
        (ORIN_CPUINFO.replace("0xd42", "0xfff"), "Arm implementer 0x41 part 0xfff", True),
        ("", "unknown", False),
    ],
)
def test_cpu_and_fast_int8(tmp_path: Path, cpuinfo: str, cpu: str, is_fast: bool) -> None:
    install(tmp_path, {"proc/cpuinfo": cpuinfo})
    assert cpu_model(tmp_path) == cpu
    assert has_fast_int8(tmp_path) is is_fast


def test_a_flag_counts_only_as_a_whole_word(tmp_path: Path) -> None:
    install(tmp_path, {"proc/cpuinfo": "flags\t: avx512_vnni2 noavx_vnni avx2\n"})
    assert not has_fast_int8(tmp_path)
    assert instruction_sets(tmp_path) == ("avx2",)


def test_another_machine_is_no_jetson(tmp_path: Path) -> None:
    install(tmp_path, {"proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0"})
    assert read_jetson(tmp_path) is None
    assert read_jetson(tmp_path / "nothing") is None


def test_a_jetson_with_files_missing_says_none(tmp_path: Path) -> None:
    install(tmp_path, {"etc/nv_tegra_release": "garbage", "var/lib/nvpmodel/status": "pmode:0007"})
    assert read_jetson(tmp_path) == Jetson("unknown", None, 7, None)


def test_an_unknown_machine_is_told_as_unknown(tmp_path: Path) -> None:
    board = read_board(tmp_path)
    assert (board.cpu, board.memory_mb, board.jetson) == ("unknown", None, None)
    assert load_average(tmp_path) is None
    assert temperatures_c(tmp_path) == {}


def test_a_slug_of_a_desktop_leaves_marks_and_clock_out(tmp_path: Path) -> None:
    install(tmp_path, {"proc/cpuinfo": XEON_CPUINFO})
    board = read_board(tmp_path)
    assert board_slug(board) == f"{board.architecture.replace('_', '-')}-intel-xeon-gold-6248r-cpu"


def test_this_machine_tells_its_versions() -> None:
    board: Board = read_board()
    assert board.cores >= 1
    assert {"numpy", "opencv"} <= board.versions.keys()


def test_a_module_that_cannot_be_imported_says_why() -> None:
    version, why = module_version("irvis_no_such_module")
    assert version is None
    assert "irvis_no_such_module" in why
