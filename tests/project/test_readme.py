"""The README's commands: each exists as it is written, and the blocks run in order on what they make."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from irvis_runtime.__main__ import main

NOT_RUN = re.compile(r"<!-- not run: (\S.*\S) -->")


@dataclass(frozen=True)
class Block:
    """A fenced block of commands."""

    language: str
    text: str
    reason: str
    """Why it is not run; empty where it is."""

    def commands(self) -> list[list[str]]:
        """Its commands as words, without comments."""
        joined = self.text.replace("\\\n", " ")
        return [words for line in joined.splitlines() if (words := shlex.split(line, comments=True))]


def blocks_of(text: str) -> list[Block]:
    """The fenced blocks of a document, each with the mark that stands right before it."""
    found = []
    pattern = re.compile(
        r"^(?P<mark><!--[^\n]*-->\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
    )
    for match in pattern.finditer(text):
        mark = NOT_RUN.match(match["mark"] or "")
        found.append(Block(match["language"], match["text"], mark[1] if mark else ""))
    return found


@pytest.fixture(scope="session")
def blocks(root: Path) -> list[Block]:
    return blocks_of((root / "README.md").read_text())


def test_blocks_are_read_as_they_are_written() -> None:
    first = "```sh\nirvis a --x  # why\nirvis b \\\n  -o c\n```\n"
    run, left_out = blocks_of(f"{first}\n<!-- not run: takes days -->\n```sh\nmake\n```\n")
    assert (run.reason, left_out.reason) == ("", "takes days")
    assert run.commands() == [["irvis", "a", "--x"], ["irvis", "b", "-o", "c"]]


def test_readme_has_commands(blocks: list[Block]) -> None:
    shell = [block for block in blocks if block.language == "sh"]
    assert sum(words[0] == "irvis" for block in shell for words in block.commands()) > 5
    for block in shell:
        if not block.reason:
            assert {words[0] for words in block.commands()} == {"irvis"}, "other commands need `not run`"


def help_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The help of a command; argparse leaves the process after it, `irvis train student` returns."""
    try:
        code: object = main([*words, "--help"])
    except SystemExit as leaving:
        code = leaving.code
    assert code == 0, words
    return capsys.readouterr().out


def test_every_option_exists(blocks: list[Block], capsys: pytest.CaptureFixture[str]) -> None:
    """Also of the commands that are not run."""
    helps: dict[tuple[str, ...], str] = {}
    for words in (
        w for block in blocks if block.language == "sh" for w in block.commands() if w[0] == "irvis"
    ):
        name = tuple(words[1:3] if words[1] == "train" else words[1:2])
        if name not in helps:
            helps[name] = help_of(list(name), capsys)
        options = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        for option in options:
            assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", helps[name]), (words, option)
        for key in (word.split("=")[0] for word in words if re.match(r"[a-z_.]+=", word)):
            assert f"\n  {key}: " in helps[name], (words, key)


def test_python_runs(blocks: list[Block]) -> None:
    random = np.random.default_rng(0)
    pictures = {
        name: random.integers(0, 256, (48, 64), dtype=np.uint8) for name in ("infrared_hw", "visible_hw")
    }
    found = [block for block in blocks if block.language == "python"]
    assert found
    for block in found:
        names: dict[str, object] = dict(pictures)
        exec(compile(block.text, "README.md", "exec"), names)
        fused_hw = names["fused_hw"]
        assert isinstance(fused_hw, np.ndarray)
        assert fused_hw.shape == (48, 64)


@pytest.mark.slow
def test_commands_run_in_order(blocks: list[Block], root: Path, tracked: list[Path], tmp_path: Path) -> None:
    for path in tracked:
        if path.parts[0] != "tests":
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / path, tmp_path / path)
    for block in blocks:
        if block.language != "sh" or block.reason:
            continue
        for words in block.commands():
            if words[1] == "live" and find_spec("gi") is None:
                continue
            command = [sys.executable, "-m", "irvis_runtime", *words[1:]]
            done = subprocess.run(
                command, cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False
            )
            assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
