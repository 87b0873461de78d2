"""`irvis live`: the command line around `Live`."""

from __future__ import annotations

import signal
import sys
import threading
from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import FrameType

from irvis_runtime.cameras.sources import Role, make_source
from irvis_runtime.cli import Parser
from irvis_runtime.config import describe
from irvis_runtime.errors import ContractError
from irvis_runtime.gstreamer import Platform, find_platform, launch_text
from irvis_runtime.log import choose_log, log
from irvis_runtime.rig import Rig, load_rig

from .loop import Live
from .profile import NoNetwork, Profile
from .reload import Reloader


def main(argv: Sequence[str]) -> int:
    """Runs `irvis live ...` until --seconds are over, both sources have ended, or SIGINT or SIGTERM comes."""
    arguments = _parser().parse_intermixed_args(argv)
    if arguments.help_rig:
        sys.stdout.write(f"{describe(Rig)}\n")
        return 0
    if arguments.rig is None:
        raise ContractError("irvis live: expected a rig file; `irvis live --help-rig` lists what is in one")
    if arguments.seconds is not None and not 0 < arguments.seconds < float("inf"):
        raise ContractError(f"--seconds: expected a number above 0, got {arguments.seconds}")
    choose_log(arguments.log)
    load = partial(load_rig, arguments.rig, arguments.overrides)
    if arguments.print_pipeline:
        sys.stdout.write(pipelines(load(), arguments.platform or find_platform()))
        return 0
    run_rig(load, arguments)
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="irvis live",
        description="Fuse two cameras live, as a rig file says.",
        epilog="--help-rig lists the rig file; SIGHUP has it read again",
    )
    parser.add_argument(
        "rig", type=Path, nargs="?", metavar="RIG.toml", help="cameras, registration, outputs, limits"
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="fields that differ from the file")
    parser.add_argument("--seconds", type=float, metavar="N", help="stop after N seconds")
    parser.add_argument("--status", type=Path, metavar="FILE", help="JSON that tells the state once a second")
    parser.add_argument("--model", type=Path, metavar="DIR", help="model directory instead of the rig's")
    parser.add_argument("--precision", help="auto, fp32, fp16, int8, ... instead of the rig's")
    parser.add_argument("--log", choices=("text", "json"), default="text", help="form of the lines on stderr")
    parser.add_argument("--profile", type=Path, metavar="FILE", help="JSON of the CPU time of every stage")
    parser.add_argument(
        "--without-network", action="store_true", help="fuse nothing: the cost of everything else"
    )
    parser.add_argument(
        "--print-pipeline", action="store_true", help="show how the cameras are opened, and open none"
    )
    parser.add_argument(
        "--platform", choices=("generic", "jetson"), help="of --print-pipeline; this machine's if absent"
    )
    parser.add_argument("--help-rig", action="store_true", help="list the rig file's fields")
    return parser


def pipelines(rig: Rig, platform: Platform) -> str:
    """Returns a line a camera: its role, and the pipeline as gst-launch-1.0 takes it."""
    roles: dict[Role, str] = {"visible": rig.visible.source, "infrared": rig.infrared.source}
    lines = (
        f"{role}: {launch_text(make_source(uri, role, platform).description)}\n"
        for role, uri in roles.items()
    )
    return "".join(lines)


def run_rig(load: Callable[[], Rig], arguments: Namespace) -> None:
    """Checks the rig, loads the model, and runs until the end; SIGINT and SIGTERM are a clean end."""
    from .stand_in import open_live_fuser

    rig = load()
    profile = None if arguments.profile is None else Profile(arguments.profile)
    live = Live(rig, find_platform(), profile)
    stop, reloader = threading.Event(), Reloader(load)
    follow_signals(stop, reloader)
    if arguments.without_network:
        live.run(NoNetwork(), stop, arguments.seconds, arguments.status, reloader)
        return
    model = arguments.model or rig.fusion.model
    precision = arguments.precision or rig.fusion.precision
    with open_live_fuser(model, precision, rig.fusion.backend, rig.fusion.threads, log) as fuser:
        live.run(fuser, stop, arguments.seconds, arguments.status, reloader)


def follow_signals(stop: threading.Event, reloader: Reloader) -> None:
    """Has the first SIGINT or SIGTERM set `stop`, a second one end the process, and SIGHUP read the rig."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    signal.signal(signal.SIGHUP, lambda number, frame: reloader.request())
