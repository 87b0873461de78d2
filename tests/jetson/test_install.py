"""install.sh on a fake board: what it does, that it does it once, and what it leaves alone."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

from .conftest import CHANGING, FIRST, JETSON, Board

RIG = "etc/irvis/rig.toml"
FOLDER = "etc/systemd/system"
UNIT = f"{FOLDER}/irvis-live.service"
UNITS = ("irvis-live.service", "irvis-argus.path", "irvis-argus.service")
ENABLED = "etc/systemd/system/multi-user.target.wants/irvis-live.service"


def test_installs_everything_and_says_so(board: Board) -> None:
    run = board.install()

    assert (run.code, run.error) == (0, "")
    assert "L4T 36.4.3 is JetPack 6.2\n" in run.out
    assert board.current() == f"releases/{FIRST}"
    for name in UNITS:
        assert (board.root / FOLDER / name).read_text() == (JETSON / name).read_text()
    assert (board.root / ENABLED).is_symlink()
    assert (board.root / RIG).read_text() == (JETSON / "rig.example.toml").read_text()
    assert "Next: put your cameras into /etc/irvis/rig.toml" in run.out


def test_environment_sees_the_systems_packages_and_fetches_nothing(board: Board) -> None:
    run = board.install()

    (made,) = run.called("python3 -m venv")
    assert made == f"python3 -m venv --system-site-packages /opt/irvis/releases/{FIRST}"
    (pip,) = run.called("python -I -m pip install")
    assert {"--no-deps", "--no-index"} <= set(pip.split())
    assert pip.endswith(f"/opt/irvis/releases/{FIRST}/{board.wheel.name}")


def test_a_second_run_changes_nothing_and_says_so(board: Board) -> None:
    board.install()
    before = board.tree()

    run = board.install()

    assert run.code == 0
    assert run.out.endswith("Nothing changed.\n")
    assert run.announced() == []
    assert board.tree() == before


def test_dry_run_announces_what_the_run_does_and_does_nothing(board: Board) -> None:
    before = board.tree()
    dry = board.install("--dry-run")
    assert board.tree() == before
    real = board.install()

    assert dry.code == 0
    assert dry.announced() == real.announced() != []
    assert f"Dry run: {len(dry.announced())} changes would be made; nothing was done." in dry.out
    for changing in CHANGING:
        assert dry.called(changing) == []
        assert real.called(changing) != []


def test_dry_run_of_an_upgrade_does_nothing(board: Board) -> None:
    board.install()
    before = board.tree()
    upgrade = board.make_wheel("0.2.0")

    run = board.install("--dry-run", wheel=upgrade)

    assert (run.code, board.tree()) == (0, before)
    assert len(run.announced()) == 2


def test_installs_the_missing_packages_alone(board: Board) -> None:
    run = board.install()

    (install,) = [call for call in run.called("apt-get") if " install " in call]
    packages = install.split("--no-install-recommends ")[1].split()
    assert "python3-venv" in packages
    assert "gstreamer1.0-plugins-ugly" in packages
    # TOML for Python 3.10
    assert "python3-tomli" in packages
    # there already: OpenCV as NVIDIA packages it
    assert not {"python3-numpy", "python3-opencv", "libopencv-python", "python3-libnvinfer"} & set(packages)


def test_python_3_12_reads_toml_itself(board: Board) -> None:
    board.set_release("39", "2.0")
    board.set("python", "3.12")
    board.set("tensorrt", "10.16.2.10-1+cuda13.2")

    run = board.install()

    assert run.code == 0
    assert "python3-tomli" not in "\n".join(run.calls)
    assert "-py3.12-" in board.current()


def test_tensorrt_that_apt_offers_is_installed(board: Board) -> None:
    (board.state / "installed").write_text("python3-numpy\n")
    board.set("candidate", "10.3.0.30-1+cuda12.5")

    run = board.install()

    assert run.code == 0
    (install,) = [call for call in run.called("apt-get") if " install " in call]
    assert {"python3-libnvinfer", "python3-opencv"} <= set(install.split())


def test_service_user_has_the_groups_of_cameras_and_gpu(board: Board) -> None:
    run = board.install()

    (made,) = run.called("useradd")
    assert {"--system", "--no-create-home", "/usr/sbin/nologin"} <= set(made.split())
    groups = (board.root / "etc/group").read_text().splitlines()
    assert {"video:x:44:nvidia,irvis", "render:x:104:nvidia,irvis"} <= set(groups)


def test_the_services_folder_is_its_own_before_the_proof(board: Board) -> None:
    run = board.install()

    assert stat.S_IMODE((board.root / "var/lib/irvis").stat().st_mode) == 0o755
    # By one rename, so that it is never there and root's.
    owned = run.calls.index("chown irvis:irvis /var/lib/irvis.new")
    assert owned < run.calls.index("python -I - /etc/irvis/rig.toml")
    assert [path.name for path in (board.root / "var/lib").iterdir()] == ["irvis"]


def test_a_services_folder_that_is_there_is_left_alone(board: Board) -> None:
    (board.root / "var/lib/irvis/engines").mkdir(parents=True)

    assert board.install().called("chown") == []

    assert (board.root / "var/lib/irvis/engines").is_dir()


def test_a_group_that_the_system_lacks_is_left_out(board: Board) -> None:
    (board.root / "etc/group").write_text("video:x:44:\n")

    run = board.install()

    assert run.code == 0
    assert [call.split()[-2] for call in run.called("usermod")] == ["video"]


def test_the_users_rig_file_is_never_touched(board: Board) -> None:
    rig = board.root / RIG
    rig.parent.mkdir()
    rig.write_text("# mine\n")
    before = _entry(rig)

    assert board.install().code == 0
    board.set("version", "0.2.0")
    assert board.install(wheel=board.make_wheel("0.2.0")).code == 0

    assert _entry(rig) == before


def test_a_named_rig_file_is_installed_readable_for_the_service_alone(board: Board) -> None:
    mine = board.folder / "mine.toml"
    mine.write_text("# rtsp://user:password@camera\n")

    run = board.install("--rig", str(mine))

    assert (board.root / RIG).read_text() == mine.read_text()
    assert stat.S_IMODE((board.root / RIG).stat().st_mode) == 0o640
    assert run.called("chgrp irvis /etc/irvis/rig.toml")
    # the same again is no change
    assert board.install("--rig", str(mine)).out.endswith("Nothing changed.\n")


def test_another_prefix_reaches_the_unit(board: Board) -> None:
    run = board.install("--prefix", "/srv/irvis")

    assert run.code == 0
    assert (board.root / "srv/irvis/venv").is_symlink()
    assert "ExecStart=/srv/irvis/venv/bin/irvis live " in (board.root / UNIT).read_text()
    assert not (board.root / "opt/irvis").exists()


def test_without_service_there_is_neither_user_nor_unit(board: Board) -> None:
    run = board.install("--no-service")

    assert run.code == 0
    assert [name for name in UNITS if (board.root / FOLDER / name).exists()] == []
    assert "irvis:" not in (board.root / "etc/passwd").read_text()
    assert stat.S_IMODE((board.root / RIG).stat().st_mode) == 0o644
    assert board.current() == f"releases/{FIRST}"


def test_uninstall_removes_what_was_installed_and_keeps_the_users(board: Board) -> None:
    board.install("--model", str(board.make_model()))
    before = board.tree()
    dry = board.call("--uninstall", "--dry-run")
    assert board.tree() == before

    run = board.call("--uninstall")

    assert (run.code, run.error) == (0, "")
    assert dry.announced() == run.announced() != []
    assert not (board.root / "opt/irvis").exists()
    assert [name for name in UNITS if (board.root / FOLDER / name).exists()] == []
    assert not (board.root / ENABLED).is_symlink()
    assert (board.root / RIG).exists()
    assert board.call("--uninstall").out.endswith("Nothing changed.\n")


def test_uninstall_of_an_older_installation_or_a_cut_off_removal(board: Board) -> None:
    for missing in (UNITS[1:], UNITS[:1]):
        board.install()
        for name in missing:
            (board.root / FOLDER / name).unlink()
        (board.root / FOLDER / f"{UNITS[0]}.new").touch()

        run = board.call("--uninstall")

        assert (run.code, run.error) == (0, "")
        assert list((board.root / FOLDER).glob("irvis*")) == []
        assert bool(run.called("systemctl disable")) == (UNITS[0] not in missing)


def test_models_that_a_cut_off_removal_left_are_removed(board: Board) -> None:
    board.install("--model", str(board.make_model()))
    (board.root / "opt/irvis/venv").unlink()
    shutil.rmtree(board.root / "opt/irvis/releases")

    assert board.call("--uninstall").code == 0

    assert not (board.root / "opt/irvis").exists()


def test_uninstall_leaves_other_files_in_the_prefix(board: Board) -> None:
    board.install()
    (board.root / "opt/irvis/notes.txt").touch()

    board.call("--uninstall")

    assert [path.name for path in (board.root / "opt/irvis").iterdir()] == ["notes.txt"]


def test_paths_may_hold_spaces_and_whatever_else_a_name_can(tmp_path: Path) -> None:
    folder = tmp_path / "my \\ 'board' & $more"
    folder.mkdir()
    board = Board(folder)
    script = folder / "the installer"
    shutil.copytree(JETSON, script)
    rig = folder / "my rig.toml"
    rig.write_text("# mine\n")

    run = board.call("--rig", str(rig), "--model", str(board.make_model()), script=script / "install.sh")

    assert (run.code, run.error) == (0, "")
    assert board.current() == f"releases/{FIRST}"
    assert (board.root / RIG).read_text() == "# mine\n"
    assert board.call("--uninstall", script=script / "install.sh").code == 0
    assert not (board.root / "opt/irvis").exists()


def test_an_update_needs_no_network(board: Board) -> None:
    board.install()
    board.set("fails", "apt-get")
    board.set("version", "0.2.0")

    assert board.install(wheel=board.make_wheel("0.2.0")).code == 0


def test_the_wheel_beside_the_caller_is_found(board: Board) -> None:
    run = board.call()

    assert run.code == 0
    assert f"    {board.wheel}\n" in run.out


def _entry(path: Path) -> tuple[int, int, str]:
    return path.stat().st_mode, path.stat().st_mtime_ns, path.read_text()
