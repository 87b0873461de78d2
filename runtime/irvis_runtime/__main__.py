"""The one command: finds the sub-command, calls it, and turns every expected failure into one line."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.metadata import entry_points
from typing import TextIO

from . import __version__
from .errors import BackendError, ContractError

Command = Callable[[Sequence[str]], int]

# name -> (module of this package, what it does); imported only when called
RUNTIME_COMMANDS: dict[str, tuple[str, str]] = {
    "fuse": ("fuse.command", "fuse pictures, folders or videos"),
    "live": ("live.command", "fuse two cameras live, as a rig file says"),
    "calibrate": ("calibration.command", "find how the infrared picture lies on the visible one"),
    "raw": ("live.raw_recordings", "raw recordings and their rig, to measure live with"),
    "bench": ("bench.command", "measure speed and fidelity over a folder of pairs, to JSON"),
    "report": ("report.command", "make an HTML and a Markdown report from bench files"),
    "demo": ("demo", "the whole road on generated pictures, in minutes"),
    "doctor": ("doctor.command", "what this machine has and lacks"),
}
# Named here only to say where they come from; their code is found through the entry points.
WORKBENCH_COMMANDS: dict[str, str] = {
    "train": "train a student from its teacher (workbench)",
    "export": "student weights -> ONNX (workbench)",
    "quantize": "ONNX -> INT8 and FP16, judged by the teacher (workbench)",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `irvis ARGS` and returns the exit code: 0 done, 1 a gate said no, 2 an error, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # A polite kill or a closed terminal unwinds like an interrupt, so that nothing half-written stays;
    # `irvis live` sets its own.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _raise_interrupt)
        # nohup had it ignored.
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            signal.signal(signal.SIGHUP, _raise_interrupt)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # As stderr has it: a file's name may be any bytes, and telling it must not fail.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = dispatch(arguments)
        # What waits in the buffer may fail too; later only Python itself could say so.
        sys.stdout.flush()
        return code
    except (ContractError, BackendError) as error:
        return fail(str(error))
    except BrokenPipeError:
        # The reader (`| head`) is gone.
        _mute_broken(sys.stdout)
        return 141
    except OSError as error:
        _mute_broken(sys.stdout)
        where = f"{error.filename}: " if error.filename else ""
        return fail(f"{where}{error.strerror or error}; check the path, its permissions and the free space")
    except MemoryError:
        return fail("out of memory; use smaller pictures or close other programs")
    except KeyboardInterrupt:
        _tell("\nirvis: interrupted\n")
        return 130
    finally:
        _mute_broken(sys.stderr)


def _mute_broken(stream: TextIO | None) -> None:
    """Sends to nowhere what the stream cannot take: Python would try again at exit, and exit with 120."""
    if stream is None:
        return
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except ValueError:
        # It is closed.
        pass


def _tell(text: str) -> None:
    """Writes to stderr; where that is full or gone, the exit code tells alone."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)


def _raise_interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def dispatch(arguments: list[str]) -> int:
    """Calls the sub-command named by the first argument with the rest."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(usage())
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        sys.stdout.write(f"irvis {__version__}\n")
        return 0
    return find_command(arguments[0])(arguments[1:])


def find_command(name: str) -> Command:
    """Returns the function behind a sub-command; ContractError where there is none on this machine."""
    if name in RUNTIME_COMMANDS:
        command: Command = import_module(f".{RUNTIME_COMMANDS[name][0]}", __package__).main
        return command
    for entry in entry_points(group="irvis.commands"):
        if entry.name == name:
            try:
                workbench_command: Command = entry.load()
            except ModuleNotFoundError as error:
                raise ContractError(
                    f"`irvis {name}` needs the Python package {error.name!r}, which is not installed; "
                    "run `make install` in a clone of irvis"
                ) from error
            return workbench_command
    if name in WORKBENCH_COMMANDS:
        raise ContractError(
            f"`irvis {name}` is part of the workbench and this is the device's runtime alone; "
            "run it in a clone of irvis after `make install`"
        )
    known = ", ".join([*RUNTIME_COMMANDS, *WORKBENCH_COMMANDS])
    raise ContractError(f"no sub-command {name!r}; expected one of: {known}")


def usage() -> str:
    """The text of `irvis --help`."""
    commands = {name: text for name, (_, text) in RUNTIME_COMMANDS.items()} | WORKBENCH_COMMANDS
    lines = [f"  {name:<10}{text}" for name, text in commands.items()]
    return "\n".join(
        [
            "usage: irvis COMMAND ...   (irvis COMMAND --help tells more)",
            "",
            *lines,
            "",
            f"irvis {__version__}",
            "",
        ]
    )


def fail(message: str) -> int:
    """Prints one line on stderr and returns exit code 2."""
    _tell("irvis: error: " + " ".join(message.split()) + "\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
