"""The bench file: what one run of `irvis bench` measured on one machine, as `report` reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from irvis_runtime.board import Board
from irvis_runtime.model_files.checked_files import read_file
from irvis_runtime.strict_json import JsonValue, parse
from irvis_runtime.targets import Engine

from .fields import read_fields, to_json

BENCH_SCHEMA = 2
MAX_BENCH_BYTES = 64 << 20
ADVICE = "name a file that `irvis bench` wrote, or measure again"
TEACHER, AVERAGE, MAXIMUM = "teacher", "average", "maximum"
MAX_DB = 1000.0
"""Beyond what any picture has: one bit of an error in 10^9 pixels of 8 bits is 138 dB."""
BASELINES = (AVERAGE, MAXIMUM)


@dataclass(frozen=True)
class Percentiles:
    """Times of one stage in milliseconds."""

    p50: float
    p90: float
    p99: float
    mean: float
    count: int


@dataclass(frozen=True)
class Ratio:
    """This one's total time divided by another's in the same repeat: median and spread over the repeats."""

    median: float
    p10: float
    p90: float
    count: int


@dataclass(frozen=True)
class Fidelity:
    """How near one picture is to another."""

    psnr_db: float | None
    """None where the two are identical, because it is infinite."""
    ssim: float
    """-1..1, 1 where they are identical."""
    max_lsb: int
    """The largest difference of a pixel, in 8-bit levels."""
    p99_lsb: int
    """99 % of the pixels differ by at most this many levels."""


@dataclass(frozen=True)
class FidelitySummary:
    """Fidelity over all pairs."""

    psnr_db_mean: float | None
    """Of the pairs that are not identical; None where all are."""
    psnr_db_worst: float | None
    worst_pair: str | None
    ssim_mean: float
    ssim_worst: float
    max_lsb: int
    p99_lsb_worst: int
    """Of the pair with the largest one."""
    pairs: int
    identical_pairs: int


@dataclass(frozen=True)
class Contender:
    """One thing that was measured: a precision of the student, its teacher, or a trivial baseline."""

    name: str
    """"fp32", "int8", ...; "teacher"; "average" or "maximum" of the two pictures, pixel by pixel."""
    engine: Engine | None
    """None for baselines and for a teacher whose pictures were made beforehand."""
    latency_ms: dict[str, Percentiles] | None
    """By stage: a student has "context", "fuse" and "total" (bytes in to bytes out), a teacher "total"."""
    ratio_to_teacher: Ratio | None
    ratio_to_fp32: Ratio | None
    to_teacher: FidelitySummary | None
    to_fp32: FidelitySummary | None
    metrics: dict[str, float | None]
    """Mean over all pairs; None where a pair is too small for it or the value is not finite."""


@dataclass(frozen=True)
class Score:
    """One contender on one pair."""

    to_teacher: Fidelity | None
    to_fp32: Fidelity | None
    metrics: dict[str, float | None]


@dataclass(frozen=True)
class PairRow:
    """One pair."""

    name: str
    width: int
    height: int
    """The size at which it was judged."""
    infrared_was_resized: bool
    scores: dict[str, Score]
    """By contender."""


@dataclass(frozen=True)
class PictureSet:
    """The pictures of one pair, for the report."""

    pair: str
    why: str
    files: dict[str, str]
    """"infrared", "visible", a contender or "difference" -> PNG, relative to the bench file."""
    difference: str | None
    """What the difference picture shows, such as "int8 - fp32"."""
    difference_factor: int
    """It shows 128 + factor * difference."""


@dataclass(frozen=True)
class MachineState:
    """How busy and how warm the machine was at one moment."""

    load_average: float | None
    cpu_share: float
    """The part of its cores that this process got when it asked for all of them."""
    temperatures_c: dict[str, float]


@dataclass(frozen=True)
class Load:
    """The machine before and after the timing."""

    before: MachineState
    after: MachineState
    was_busy: bool
    """Whether others used the machine, so that absolute times say little; ratios were taken in turn."""


@dataclass(frozen=True)
class Model:
    """The model directory."""

    name: str
    files: dict[str, str]
    """Precision -> sha256, of every file that the manifest names."""
    provenance: dict[str, object]


@dataclass(frozen=True)
class Teacher:
    """What gave the teacher's pictures."""

    kind: str
    """"pictures", "onnx" or "model"."""
    name: str


@dataclass(frozen=True)
class Pairs:
    """The pictures that were measured."""

    folder: str
    count: int
    sha256: str
    """Of all names and contents."""


@dataclass(frozen=True)
class Timing:
    """How speed was measured, and at which size likeness was judged."""

    width: int
    height: int
    judged: str
    """"native": each pair at its own size, or "timed": all at this width and height."""
    repeats: int
    warm_up: int
    threads: int
    kernels: str
    """"compiled", or "none" where NumPy and OpenCV made the context."""
    seconds: float
    """How long the timed part took."""


@dataclass(frozen=True)
class Bench:
    """One run."""

    schema: int
    date: str
    """ISO 8601, UTC."""
    command: str
    """What was typed, to do it again."""
    irvis: str
    board: Board
    model: Model
    teacher: Teacher | None
    pairs_of: Pairs
    timing: Timing
    load: Load
    contenders: tuple[Contender, ...]
    pairs: tuple[PairRow, ...]
    pictures: tuple[PictureSet, ...]
    not_measured: tuple[str, ...]
    """What is missing here and why, one sentence each."""


def bench_to_json(bench: Bench) -> str:
    """The text of a bench file."""
    return to_json(bench)


def load_bench(path: Path) -> Bench:
    """Reads a bench file; ContractError that names the file and the field where it is not one."""
    content = read_file(path, "a bench file that `irvis bench` wrote", MAX_BENCH_BYTES)
    root = parse(content.decode(errors="replace"), str(path), ADVICE)
    schema = root.mapping().get("schema", root.child("schema", None))
    if type(schema.value) is not int or schema.value != BENCH_SCHEMA:
        raise schema.error(f"{BENCH_SCHEMA}, which this version of irvis reads")
    bench = read_fields(Bench, root)
    _check_names(bench, root)
    _check_decibels(root)
    return bench


def _check_names(bench: Bench, root: JsonValue) -> None:
    """Raises ContractError where parts of the file do not fit each other."""
    names = [contender.name for contender in bench.contenders]
    contenders = root.mapping()["contenders"]
    if not names or len(names) != len(set(names)):
        raise contenders.error("one or more, each of another name", ", ".join(names) or "none")
    for element, contender in zip(contenders.elements(), bench.contenders, strict=True):
        if contender.latency_ms is not None and "total" not in contender.latency_ms:
            raise element.mapping()["latency_ms"].error("the stage `total` among others")
    for element, row in zip(root.mapping()["pairs"].elements(), bench.pairs, strict=True):
        if unknown := sorted(row.scores.keys() - set(names)):
            raise element.mapping()["scores"].error(f"the contenders {', '.join(names)}", ", ".join(unknown))


def _check_decibels(root: JsonValue) -> None:
    """Raises ContractError for likeness that no measurement gives: a mean without a worst, or 1e17 dB."""
    contenders = [contender.mapping() for contender in root.mapping()["contenders"].elements()]
    for contender in contenders:
        for summary in (contender["to_teacher"], contender["to_fp32"]):
            if summary.value is None:
                continue
            mean, worst = (summary.mapping()[name] for name in ("psnr_db_mean", "psnr_db_worst"))
            if (mean.value is None) != (worst.value is None):
                raise worst.error("null exactly where psnr_db_mean is")
            _check_decibel(mean)
            _check_decibel(worst)
    for row in root.mapping()["pairs"].elements():
        for score in row.mapping()["scores"].mapping().values():
            for fidelity in (score.mapping()["to_teacher"], score.mapping()["to_fp32"]):
                if fidelity.value is not None:
                    _check_decibel(fidelity.mapping()["psnr_db"])


def _check_decibel(value: JsonValue) -> None:
    if isinstance(value.value, int | float) and abs(value.value) > MAX_DB:
        raise value.error(f"decibels, at most {MAX_DB:g}")
