"""What every sub-command's argument parser shares."""

from __future__ import annotations

import argparse
from typing import NoReturn

from .errors import ContractError


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line and exit code 2, like every other error of irvis."""

    def error(self, message: str) -> NoReturn:
        """Raises ContractError instead of printing the usage and leaving the process."""
        raise ContractError(f"{self.prog}: {message}; `{self.prog} --help` tells more")
