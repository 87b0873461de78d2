"""People who walk: limbs as ribbons around moving joints; skin is warm, clothes less so."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .faces import Faces, faces
from .plants import ribbons
from .weather import Colour, Weather

SKIN: Colour = (0.22, 0.32, 0.48)
CLOTHES: tuple[Colour, ...] = (
    (0.03, 0.03, 0.03), (0.20, 0.08, 0.05), (0.10, 0.10, 0.10), (0.05, 0.05, 0.30), (0.55, 0.55, 0.55),
    (0.10, 0.22, 0.12), (0.25, 0.30, 0.34), (0.06, 0.30, 0.50), (0.32, 0.15, 0.10),
)  # fmt: skip
Point = tuple[float, float, float]
STRIDE_M = 1.45
"""Two steps."""


@dataclass(frozen=True)
class Person:
    """How someone looks."""

    height_m: float
    coat_bgr: Colour
    trousers_bgr: Colour
    hair_bgr: Colour
    skin_c: float
    coat_share: float
    """Where the coat's outside lies between the air (0) and the skin (1)."""
    has_backpack: bool


def random_person(rng: np.random.Generator, weather: Weather) -> Person:
    """Someone dressed for the weather."""
    coat, trousers = (CLOTHES[int(k)] for k in rng.integers(0, len(CLOTHES), 2))
    thin = float(np.clip((weather.air_c + 5) / 30, 0, 1))
    return Person(
        height_m=float(rng.uniform(1.58, 1.92)),
        coat_bgr=coat,
        trousers_bgr=trousers if rng.random() < 0.5 else CLOTHES[int(rng.integers(3))],
        hair_bgr=((0.02, 0.02, 0.02), (0.04, 0.07, 0.12), (0.2, 0.28, 0.34))[int(rng.integers(3))],
        skin_c=float(rng.uniform(31, 34.5)),
        coat_share=float(rng.uniform(0.34, 0.52)) + 0.2 * thin,
        has_backpack=bool(rng.random() < 0.35),
    )


@dataclass(frozen=True)
class _Limb:
    start: str
    end: str
    wide: float
    """Radii in shares of the person's height."""
    narrow: float
    wears: str
    """trousers, shoes, coat, pack, skin or hair."""
    warmer_c: float
    bias_m: float


_LIMBS = (
    *(
        _Limb(f"{a}_{side}", f"{b}_{side}", wide, narrow, wears, warmer_c, bias_m)
        for side in "lr"
        for a, b, wide, narrow, wears, warmer_c, bias_m in (
            ("hip", "knee", 0.052, 0.036, "trousers", 1.0, 0.0),
            ("knee", "ankle", 0.036, 0.024, "trousers", 0.0, 0.0),
            ("ankle", "toe", 0.024, 0.018, "shoes", 0.0, 0.0),
            ("shoulder", "elbow", 0.034, 0.027, "coat", -0.4, 0.05),
            ("elbow", "hand", 0.027, 0.019, "coat", -0.8, 0.06),
            ("hand", "finger", 0.019, 0.015, "skin", -2.5, 0.07),
        )
    ),
    _Limb("waist", "chest", 0.082, 0.108, "coat", 0.4, 0.03),
    _Limb("chest", "neck", 0.108, 0.055, "coat", 1.0, 0.03),
    _Limb("neck", "chin", 0.028, 0.028, "skin", 0.0, 0.05),
    _Limb("chin", "crown", 0.042, 0.048, "skin", 0.5, 0.06),
    _Limb("brow", "crown", 0.049, 0.046, "hair", -4.5, 0.07),
    _Limb("pack_low", "pack_high", 0.07, 0.065, "pack", 0.0, -0.02),
)
_BODY = {
    "waist": (0.50, 0.0), "chest": (0.74, 0.01), "neck": (0.845, 0.012), "chin": (0.885, 0.022),
    "crown": (0.975, 0.02), "brow": (0.945, 0.012), "pack_low": (0.58, -0.07), "pack_high": (0.78, -0.075),
}  # fmt: skip
"""Height, and how far ahead of the middle, in shares of the person's height."""


class Figure:
    """One person whose faces are made anew for every step; colours and warmth stay."""

    def __init__(self, person: Person, weather: Weather) -> None:
        self._person = person
        self._limbs = [limb for limb in _LIMBS if person.has_backpack or limb.wears != "pack"]
        self._radii = np.array([[limb.wide, limb.narrow] for limb in self._limbs]) * person.height_m
        air_c = weather.air_c + 0.4 * weather.sun_heat_c * weather.to_sun[1]
        warm_c = person.skin_c - air_c
        wear: dict[str, tuple[Colour, float]] = {
            "trousers": (person.trousers_bgr, air_c + warm_c * person.coat_share * 0.85),
            "shoes": ((0.02, 0.02, 0.02), air_c + 3.0),
            "coat": (person.coat_bgr, air_c + warm_c * person.coat_share),
            "pack": ((0.06, 0.05, 0.05), air_c + 1.5),
            "skin": (SKIN, person.skin_c),
            "hair": (person.hair_bgr, person.skin_c),
        }
        albedo = np.array([wear[limb.wears][0] for limb in self._limbs])
        warmth = np.array([wear[limb.wears][1] + limb.warmer_c for limb in self._limbs])
        bias = np.array([limb.bias_m for limb in self._limbs])
        edge_c = warmth - 0.16 * (warmth - air_c)
        n = len(self._limbs)
        # Three strips make the rim (limb and rounded ends), the fourth is the core that lies over them.
        self._look = replace(
            faces(
                np.zeros((4 * n, 4, 3)),
                np.concatenate([albedo * 0.78] * 3 + [albedo]),
                np.concatenate([edge_c] * 3 + [warmth]),
            ),
            sun_n=np.repeat(np.array([0.45, 0.62], np.float32), [3 * n, n]),
            ambient_n=np.repeat(np.array([0.55, 0.72], np.float32), [3 * n, n]),
            bias_n=np.concatenate([bias] * 3 + [bias + 0.01]).astype(np.float32),
        )

    def faces(
        self,
        walked_m: float,
        position_m: tuple[float, float, float],
        heading_rad: float,
        eye_3: NDArray[np.floating],
    ) -> Faces:
        """The person on the ground at `position_m`, as far into the stride as `walked_m` says."""
        joints = _joints(walked_m / STRIDE_M * 2 * np.pi)
        scale, sine, cosine = self._person.height_m, np.sin(heading_rad), np.cos(heading_rad)
        axes = scale * np.array([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]])
        start = np.array([joints[limb.start] for limb in self._limbs]) @ axes + position_m
        end = np.array([joints[limb.end] for limb in self._limbs]) @ axes + position_m
        along = end - start
        along /= np.sqrt((along * along).sum(axis=1, keepdims=True))
        wide, narrow = self._radii[:, 0], self._radii[:, 1]
        low = start - along * (0.75 * wide)[:, None]
        high = end + along * (0.75 * narrow)[:, None]
        corners = ribbons(
            np.concatenate([start, low, end, start]),
            np.concatenate([end, start, high, end]),
            np.concatenate([wide, 0.55 * wide, narrow, 0.55 * wide]),
            np.concatenate([narrow, wide, 0.55 * narrow, 0.55 * narrow]),
            np.asarray(eye_3),
        )
        anchors = np.asarray(corners.mean(axis=1), np.float32)
        return replace(self._look, corners_n43=corners.astype(np.float32), anchor_n3=anchors)


def _joints(phase: float) -> dict[str, Point]:
    """Joints as (right, up, ahead) in shares of the height; a plain walking cycle."""
    bob = 0.008 * math.cos(2 * phase)
    found = {name: (0.0, height + bob, forward) for name, (height, forward) in _BODY.items()}
    for side, sign in (("l", -1), ("r", 1)):
        own_phase = phase + (0 if sign > 0 else math.pi)
        swing, arm = 0.42 * math.sin(own_phase), -0.38 * math.sin(own_phase)
        bent = swing - 0.55 * max(0.0, math.cos(own_phase)) - 0.03
        hip, shoulder = (sign * 0.047, 0.51 + bob, 0.0), (sign * 0.112, 0.80 + bob, 0.0)
        knee = _hung(hip, 0.245, swing + 0.1)
        ankle = _hung(knee, 0.235, bent)
        elbow = _hung((shoulder[0] + sign * 0.012, shoulder[1], 0.0), 0.17, arm)
        hand = _hung(elbow, 0.14, arm + 0.3)
        found |= {f"hip_{side}": hip, f"knee_{side}": knee, f"ankle_{side}": ankle}
        found[f"toe_{side}"] = (ankle[0], ankle[1] - 0.02, ankle[2] + 0.085)
        found |= {f"shoulder_{side}": shoulder, f"elbow_{side}": elbow, f"hand_{side}": hand}
        found[f"finger_{side}"] = _hung(hand, 0.07, arm + 0.35)
    return found


def _hung(joint: Point, length: float, angle_rad: float) -> Point:
    """The end of a limb that hangs from a joint, swung forwards by the angle."""
    return joint[0], joint[1] - length * math.cos(angle_rad), joint[2] + length * math.sin(angle_rad)
