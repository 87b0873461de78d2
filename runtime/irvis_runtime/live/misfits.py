"""Frames that do not fit the rig or each other: an error at the start, a line in the log in flight."""

from __future__ import annotations

from irvis_runtime.cameras.source import Role
from irvis_runtime.errors import ContractError
from irvis_runtime.log import log


class Misfits:
    """Tells of a camera whose frames cannot be used, once until it is another fault or over."""

    def __init__(self) -> None:
        self._told: dict[Role, str] = {}

    def tell(self, role: Role, error: ContractError, may_raise: bool) -> None:
        """Logs the error, or raises it where that is allowed: nothing flies yet."""
        if may_raise:
            raise error
        if self._told.get(role) != str(error):
            log(str(error), camera=role)
        self._told[role] = str(error)

    def forget(self, role: Role) -> None:
        """Notes that the camera's frames fit."""
        self._told.pop(role, None)
