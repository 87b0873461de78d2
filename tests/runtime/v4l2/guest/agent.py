"""Runs in the guest as root: a line from the host is a shell command, the answer its exit code and output."""

from __future__ import annotations

import json
import subprocess
import sys


def answer(code: int, output: str) -> None:
    """Sends one line to the host."""
    sys.stdout.write(json.dumps({"code": code, "output": output}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    answer(0, "the guest is up")
    for line in sys.stdin:
        command = json.loads(line)["command"]
        done = subprocess.run(
            ["/bin/bash", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        answer(done.returncode, done.stdout.decode(errors="replace"))
