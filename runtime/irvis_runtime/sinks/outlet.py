"""What a branch needs of every sink: to open it, to hand it pictures, and to notice that it is stuck."""

from __future__ import annotations

from typing import Protocol

from irvis_runtime.gstreamer import Platform

from .picture import Picture


class Outlet(Protocol):
    """A sink that is open for pictures of one size and colorimetry; used by one thread."""

    def is_over(self, picture: Picture) -> bool:
        """Whether this picture belongs to a further opening: another size, or a recording's next piece."""
        ...

    def has_room(self) -> bool:
        """Whether `push` would take a picture now."""
        ...

    def push(self, picture: Picture) -> None:
        """Takes the picture; BackendError where it cannot."""
        ...

    def stop_reason(self) -> str | None:
        """Why the sink has stopped by itself, or None while it runs."""
        ...

    def finish(self, timeout_s: float) -> None:
        """Lets the last pictures out and completes a recording; BackendError where that failed."""
        ...

    def close(self) -> None:
        """Frees everything; may hang where the sink does, so that it is called in a thread that may."""
        ...


class Sink(Protocol):
    """Where one output ends; opened again and again.

    `stall_s`: an outlet without room for so long is stuck. `waiting_pictures`: how many may wait for it.
    """

    @property
    def uri(self) -> str:
        """The URI as written."""
        ...

    @property
    def stall_s(self) -> float:
        """Seconds."""
        ...

    @property
    def waiting_pictures(self) -> int:
        """1 or more."""
        ...

    def check(self, platform: Platform) -> None:
        """BackendError where it can never open here: no encoder works, there is no display."""
        ...

    def open(self, platform: Platform, picture: Picture) -> Outlet:
        """Opens it for pictures like this one; BackendError where that failed."""
        ...
