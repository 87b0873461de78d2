"""Updates of a fake board: what fails leaves the old installation in use, and nothing half made."""

from __future__ import annotations

import stat

import pytest

from .conftest import FIRST, Board

RIG = "etc/irvis/rig.toml"
UNIT = "etc/systemd/system/irvis-live.service"


def test_upgrade_switches_and_keeps_one_environment_as_a_way_back(board: Board) -> None:
    board.install()
    for version in ("0.2.0", "0.3.0"):
        board.set("version", version)
        run = board.install(wheel=board.make_wheel(version))
        assert run.code == 0

    assert board.current().startswith("releases/0.3.0-py3.10-")
    assert [name.split("-")[0] for name in board.releases()] == ["0.2.0", "0.3.0"]


def test_the_same_version_built_anew_is_another_environment(board: Board) -> None:
    board.install()
    board.wheel.write_bytes(b"another wheel of the same name")

    assert "switch /opt/irvis/venv" in board.install().out
    assert len(board.releases()) == 2


@pytest.mark.parametrize(
    ("fails", "version"),
    [("pip install", "0.2.0"), ("-m venv", "0.2.0"), (r"python -I - ", "0.2.0"), ("", "0.1.0")],
    ids=["pip", "venv", "proof", "wrong-version"],
)
def test_a_failed_upgrade_leaves_the_old_environment_in_use(board: Board, fails: str, version: str) -> None:
    board.install()
    before = board.tree()
    board.set("fails", fails)
    board.set("version", version)

    run = board.install(wheel=board.make_wheel("0.2.0"))

    assert run.code == 2
    assert "install.sh: error: " in run.error
    assert _without(board.tree(), "opt/irvis/releases") == _without(before, "opt/irvis/releases")
    assert board.releases() == [FIRST]


@pytest.mark.parametrize("fails", ["apt-get .*install", "useradd", "pip install", "python -I - "])
def test_a_failed_first_run_leaves_nothing_half_made(board: Board, fails: str) -> None:
    board.set("fails", fails)

    run = board.install()

    assert run.code == 2
    assert not (board.root / "opt/irvis/venv").exists()
    assert board.releases() == []
    assert not (board.root / RIG).exists()
    assert not (board.root / UNIT).exists()
    # and the next run succeeds
    board.unset("fails")
    assert board.install().code == 0


def test_what_a_killed_run_left_is_made_anew(board: Board) -> None:
    half = board.root / "opt/irvis/releases" / FIRST
    half.mkdir(parents=True)
    (half / "leftover").touch()

    assert board.install().code == 0

    assert not (half / "leftover").exists()
    assert (half / "bin/irvis").exists()


def test_a_model_is_copied_and_the_example_names_it(board: Board) -> None:
    model = board.make_model()
    (model / "manifest.json").chmod(0o600)

    run = board.install("--model", str(model))

    assert stat.S_IMODE((board.root / "opt/irvis/models/mine/manifest.json").stat().st_mode) == 0o644
    assert (board.root / "opt/irvis/models/mine/manifest.json").read_text() == "{}"
    assert '\nmodel = "/opt/irvis/models/mine"\n' in (board.root / RIG).read_text()
    assert run.called("python -I - /etc/irvis/rig.toml /opt/irvis/models/mine.new")
    assert board.install("--model", str(model)).out.endswith("Nothing changed.\n")


def test_a_model_of_links_is_copied_whole(board: Board) -> None:
    """As Hugging Face's cache keeps a download."""
    model = board.make_model()
    (model / "manifest.json").rename(board.folder / "blob")
    (model / "manifest.json").symlink_to("../blob")

    assert board.install("--model", str(model)).code == 0

    copy = board.root / "opt/irvis/models/mine/manifest.json"
    assert (copy.is_symlink(), copy.read_text()) == (False, "{}")


def test_a_changed_model_replaces_the_old_one_only_once_proven(board: Board) -> None:
    model = board.make_model()
    board.install("--model", str(model))
    (model / "manifest.json").write_text('{"schema": 2}')
    target = board.root / "opt/irvis/models/mine/manifest.json"

    board.set("fails", "python -I - ")
    assert board.install("--model", str(model)).code == 2
    assert target.read_text() == "{}"
    board.unset("fails")
    assert board.install("--model", str(model)).code == 0

    assert target.read_text() == '{"schema": 2}'
    assert [path.name for path in target.parents[1].iterdir()] == ["mine"]


def test_a_model_that_the_users_rig_file_does_not_name_is_pointed_out(board: Board) -> None:
    board.install()

    run = board.install("--model", str(board.make_model()))

    assert 'to use it write  model = "/opt/irvis/models/mine"  below [fusion]' in run.out


def _without(tree: dict[str, str], parent: str) -> dict[str, str]:
    return {name: entry for name, entry in tree.items() if not name.startswith(parent)}
