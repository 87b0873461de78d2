"""What a camera's URI becomes: the text of a pipeline, and how its end and its silence are meant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from irvis_runtime.gstreamer import Description, Platform
from irvis_runtime.uri import Uri

from .feed import Feed

Role = Literal["visible", "infrared"]
OnEnd = Literal["finish", "repeat", "retry"]

# The camera's thread empties it at once and the inbox keeps, and counts, only the newest; three ride out a
# busy core.
APPSINK = "appsink name=frames max-buffers=3 drop=true enable-last-sample=false"
# Each camera's own kind of luma: videoconvert (1.22) between YUV and GRAY8 copies it and calls limited full.
FORMATS: dict[Role, str] = {
    "visible": "video/x-raw,format=(string){NV12,GRAY8}",
    "infrared": "video/x-raw,format=(string){GRAY16_LE,GRAY8,NV12,I420}",
}


# Of an infrared camera, too: a decoder's luma is in limited range, which a GRAY8 of it would not tell.
JETSON_FORMAT = "video/x-raw,format=NV12"


@dataclass(frozen=True)
class Source:
    """How one camera is opened.

    `is_paced`: frames are shown at their timestamps (a file); else the source keeps the time. `on_end`: what
    an end of stream means. `is_certain`: an error before the first frame will not go away by trying again.
    `is_lent`: frames keep the pipeline's buffers; a
    driver's few, and those of a device that is to be opened again, are copied instead. `device`: the node of
    a camera that may come back under another number. `prepare`: called with the pipeline before it starts.
    `revive`: called, with where to report, where the
    camera does not open again and again; returns at once.
    """

    uri: str
    description: Description
    is_paced: bool = False
    on_end: OnEnd = "retry"
    is_certain: bool = False
    feed: Feed | None = None
    is_lent: bool = False
    device: Path | None = None
    prepare: Callable[[Any], None] | None = None
    revive: Callable[[Callable[[str], None]], None] | None = None


Maker = Callable[[Uri, Role, Platform], Source]


def made_here(uri: Uri, launch: str, feed: Feed | None) -> Source:
    """Returns a source whose pictures this process makes or reads: what it loses does not come back."""
    return Source(uri.text, Description(launch), on_end="finish", is_certain=True, feed=feed, is_lent=True)


def decode(role: Role, platform: Platform) -> str:
    """Returns the text: whatever comes -> system memory in the role's format -> appsink."""
    decodebin = 'decodebin expose-all-streams=false caps="video/x-raw(ANY)"'
    if platform == "jetson":
        # The decoders give NVMM memory there, which only nvvidconv takes.
        return f"{decodebin} ! nvvidconv ! {JETSON_FORMAT} ! {APPSINK}"
    return f"{decodebin} ! videoconvert ! {FORMATS[role]} ! {APPSINK}"
