"""What several tests of the runtime share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from irvis_runtime.__main__ import main


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, list[str]]]:
    """Runs `irvis fuse` and returns its exit code and what it wrote to stderr, progress left out."""

    def run_fuse(*arguments: object) -> tuple[int, list[str]]:
        code = main(["fuse", *map(str, arguments)])
        out, err = capfd.readouterr()
        assert out == ""
        return code, [line for line in err.splitlines() if not line.startswith("fusing")]

    return run_fuse
