"""`irvis live` that notes when each picture goes to its output: `noted_live.py FILE live RIG.toml ...`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from irvis_runtime.__main__ import main
from irvis_runtime.sinks.branch import Branch
from irvis_runtime.sinks.picture import Picture

if __name__ == "__main__":
    push = Branch.push
    with Path(sys.argv[1]).open("w", buffering=1) as times:

        def noted(branch: Branch, picture: Picture) -> None:
            times.write(f"{time.monotonic():.3f}\n")
            push(branch, picture)

        Branch.push = noted  # type: ignore[method-assign,assignment]
        sys.exit(main(sys.argv[2:]))
