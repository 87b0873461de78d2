"""SIGHUP: the rig file read again while the picture goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from irvis_runtime.errors import ContractError
from irvis_runtime.log import log
from irvis_runtime.rig import Rig


class Reloader:
    """Reads the rig again when it has been asked to; a file that is wrong changes nothing."""

    def __init__(self, load: Callable[[], Rig]) -> None:
        self._load, self._requested = load, threading.Event()

    def request(self) -> None:
        """Asks for it; safe in a signal handler."""
        self._requested.set()

    @property
    def is_requested(self) -> bool:
        """Whether somebody has asked since the last `read`."""
        return self._requested.is_set()

    def read(self, current: Rig) -> Rig | None:
        """Returns the rig to go on with; None, with a line in the log, where the old one stays."""
        self._requested.clear()
        try:
            wanted = self._load()
        except ContractError as error:
            log(f"the rig was not reloaded: {error}", event="reload", is_done=False)
            return None
        usable, refused = changeable(current, wanted)
        if refused:
            log(f"not changed while running: {', '.join(refused)}; restart to use them", event="reload")
        if usable == current:
            log("the rig was reloaded; nothing else in it is new", event="reload", is_done=True)
            return None
        return usable


def changeable(current: Rig, wanted: Rig) -> tuple[Rig, list[str]]:
    """Returns `wanted` with what only a restart can change taken from `current`, and the names of that."""
    refused = []
    visible, infrared, fusion = wanted.visible, wanted.infrared, wanted.fusion
    if visible.source != current.visible.source:
        refused.append("visible.source")
        visible = replace(visible, source=current.visible.source)
    if infrared.source != current.infrared.source:
        refused.append("infrared.source")
        infrared = replace(infrared, source=current.infrared.source)
    for name in ("model", "precision", "backend", "threads"):
        if getattr(fusion, name) != getattr(current.fusion, name):
            refused.append(f"fusion.{name}")
            fusion = replace(fusion, **{name: getattr(current.fusion, name)})
    output = wanted.output
    if [replace(one, view="fused") for one in output] != [
        replace(one, view="fused") for one in current.output
    ]:
        refused.append("output")
        output = current.output
    return replace(wanted, visible=visible, infrared=infrared, fusion=fusion, output=output), refused
