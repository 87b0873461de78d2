"""What fuses live pictures, as the loop and its status see it."""

from __future__ import annotations

from typing import Protocol

from irvis_runtime.cameras.compose import FusesLuma


class LiveFuser(FusesLuma, Protocol):
    """What the loop needs of a Fuser: it fuses, and says what with."""

    @property
    def backend(self) -> str:
        """The backend's name."""
        ...

    @property
    def description(self) -> str:
        """What fuses, and why that, in one line."""
        ...

    @property
    def precision(self) -> str:
        """The model file that serves."""
        ...

    @property
    def versions(self) -> dict[str, str]:
        """Of what serves."""
        ...
