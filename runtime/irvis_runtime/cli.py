"""What every sub-command's argument parser shares."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import NoReturn

from .contract import MIN_SIDE_PX
from .errors import ContractError

MAX_SIDE_PX = 8192


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line and exit code 2, like every other error of irvis."""

    def error(self, message: str) -> NoReturn:
        """Raises ContractError instead of printing the usage and leaving the process."""
        raise ContractError(f"{self.prog}: {message}; `{self.prog} --help` tells more")


def picture_size(text: str) -> tuple[int, int]:
    """The type of an argument `WIDTHxHEIGHT`: width and height in pixels."""
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    size = (int(found[1]), int(found[2])) if found else (0, 0)
    if not all(MIN_SIDE_PX <= side <= MAX_SIDE_PX for side in size):
        raise argparse.ArgumentTypeError(
            f"expected WIDTHxHEIGHT from {MIN_SIDE_PX} to {MAX_SIDE_PX} pixels, such as 640x480, got {text!r}"
        )
    return size


def whole_number(low: int) -> Callable[[str], int]:
    """The type of an argument that is a whole number from `low` up."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"\d{1,7}", text) or int(text) < low:
            raise argparse.ArgumentTypeError(f"expected a whole number from {low} up, got {text!r}")
        return int(text)

    return parse
