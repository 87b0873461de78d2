"""The small grammar in which pictures of this domain are captioned.

A meaning is what a picture is: its modality, what is wrong with it, and for a sound fused picture how its
background and its targets look. Many sentences say the same meaning, and no sentence says two.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

CLEAN = "clean"
AS_IS = "as is"
UNSEEN_SHARE = 6
"""One sentence in six is never trained on."""

MODALITIES: Mapping[str, tuple[str, ...]] = {
    "visible": ("visible gray", "visible", "visible light", "daylight camera"),
    "infrared": ("infrared", "thermal", "thermal infrared"),
    "fused": ("", "fused", "fusion", "combined"),
}
NOUNS = ("image", "picture", "photo", "frame")
SOUND = ("clear", "sharp", "vivid", "good")
MILD, STRONG = ("slightly", "mildly"), ("heavily", "strongly", "very")
STRONG_FROM = 0.6
"""Severity from which a degradation may be called strong; below, it may be called mild."""

ADJECTIVES: Mapping[str, tuple[str, ...]] = {
    "blur": ("blurred", "blurry", "unsharp", "defocused"),
    "noise": ("noisy", "grainy", "speckled"),
    "fog": ("foggy", "hazy", "misty"),
    "dark": ("dark", "underexposed", "gloomy"),
    "low_contrast": ("low contrast", "faded", "contrastless"),
    "ghosting": ("ghosted", "misaligned", "doubled"),
    "halo": ("haloed", "overshooting", "rimmed"),
    "checkerboard": ("checkered", "gridded", "tiled"),
    "stripes": ("striped", "banded", "streaky"),
    "artefacts": ("artificial", "distorted", "corrupted"),
}
FLAWS: Mapping[str, tuple[str, ...]] = {
    "blur": ("blur", "lost focus"),
    "noise": ("noise", "grain"),
    "fog": ("fog", "haze"),
    "dark": ("low light", "darkness"),
    "low_contrast": ("weak contrast", "poor contrast"),
    "ghosting": ("ghosting", "double edges"),
    "halo": ("halos", "dark rims around objects"),
    "checkerboard": ("checkerboard artefacts", "a checkerboard pattern", "grid artefacts"),
    "stripes": ("stripes", "a stripe pattern", "fixed pattern noise"),
    "artefacts": ("artefacts", "unnatural texture", "high frequency artefacts"),
}
BACKGROUNDS: Mapping[str, tuple[str, ...]] = {
    AS_IS: (),
    "smooth": ("smooth background", "flat background", "plain background", "textureless background"),
    "detailed": (
        "detailed background",
        "textured background",
        "rich background",
        "finely detailed background",
    ),
}
TARGETS: Mapping[str, tuple[str, ...]] = {
    AS_IS: (),
    "dull": ("dull objects", "dim objects", "washed out objects", "dull targets", "washed out targets"),
    "bright": (
        *("salient objects", "bright objects", "bright salient objects", "obvious objects"),
        *("salient targets", "bright targets", "glowing targets"),
    ),
}
QUALITIES: Mapping[str, tuple[str, ...]] = {
    "visible": ("blur", "noise", "fog", "dark", "low_contrast"),
    "infrared": ("blur", "noise", "stripes", "low_contrast"),
    "fused": tuple(ADJECTIVES),
}


@dataclass(frozen=True)
class Meaning:
    """What a caption says; a degraded picture's background and targets are not spoken of."""

    modality: str
    quality: str = CLEAN
    background: str = AS_IS
    targets: str = AS_IS

    @property
    def name(self) -> str:
        """A short name for tables, as `fused noise` or `fused smooth bright`."""
        parts = [self.modality] + [
            part for part in (self.quality, self.background, self.targets) if part not in (CLEAN, AS_IS)
        ]
        return " ".join(parts)


OBJECTIVE = Meaning("fused", CLEAN, "detailed", "bright")
"""What the paper's text for the fused picture says."""

MEANINGS: tuple[Meaning, ...] = (
    Meaning("visible"),
    Meaning("infrared"),
    *(Meaning("fused", CLEAN, background, targets) for background in BACKGROUNDS for targets in TARGETS),
    *(Meaning(modality, quality) for modality, qualities in QUALITIES.items() for quality in qualities),
)


def canonical(meaning: Meaning) -> str:
    """The plainest sentence; for the paper's three meanings, the paper's sentence."""
    return _sentences(meaning)[0]


@cache
def seen_captions(meaning: Meaning) -> tuple[str, ...]:
    """The sentences to train on, without those that speak of a severity."""
    sentences = _sentences(meaning)
    return (sentences[0], *(text for text in sentences[1:] if not _is_unseen(text)))


@cache
def unseen_captions(meaning: Meaning) -> tuple[str, ...]:
    """Sentences that training never draws: known words in combinations that it never saw."""
    return tuple(text for text in _sentences(meaning)[1:] if _is_unseen(text))


@cache
def rephrased_captions(meaning: Meaning) -> tuple[str, ...]:
    """Sentences of a structure that training never draws: the noun first, what is said of it behind."""
    looks = (
        _looks(meaning)
        if meaning.quality == CLEAN
        else (*ADJECTIVES[meaning.quality], *FLAWS[meaning.quality])
    )
    heads = [f"{noun}, {modality}" for noun in NOUNS for modality in MODALITIES[meaning.modality] if modality]
    return tuple(f"{head}, {look}" if look else head for head in heads for look in looks or ("",))


def draw_caption(meaning: Meaning, severity: float, random: np.random.Generator) -> str:
    """One of the sentences to train on, drawn evenly from its structures' words.

    Every third of a degraded picture also says how strong the flaw is; `severity` is in [0, 1].
    """
    sentences = seen_captions(meaning)
    if random.random() < 0.2:
        return sentences[0]
    if meaning.quality != CLEAN and random.random() < 0.33:
        graded = tuple(_graded(meaning, STRONG if severity >= STRONG_FROM else MILD))
        return graded[int(random.integers(len(graded)))]
    return sentences[int(random.integers(len(sentences)))]


@cache
def known_words() -> frozenset[str]:
    """Every word that a caption can hold; a text tower trained on captions knows no other."""
    texts = (
        text
        for meaning in MEANINGS
        for text in (*_sentences(meaning), *_graded(meaning, MILD), *_graded(meaning, STRONG))
    )
    return frozenset(word for text in texts for word in _words(text))


def unknown_words(text: str) -> tuple[str, ...]:
    """The words of a text that no caption holds, in order."""
    return tuple(word for word in _words(text) if word not in known_words())


@cache
def _sentences(meaning: Meaning) -> tuple[str, ...]:
    make = _clean if meaning.quality == CLEAN else _degraded
    return tuple(dict.fromkeys(_with_article(text) for text in make(meaning)))


def _clean(meaning: Meaning) -> Iterator[str]:
    if meaning.modality != "fused":
        for noun, modality in itertools.product(NOUNS, MODALITIES[meaning.modality]):
            yield f"{modality} {noun}"
        return
    looks = _looks(meaning) or ("",)
    for noun, sound, modality, look in itertools.product(NOUNS, SOUND, MODALITIES["fused"], looks):
        yield f"{sound} {modality} {noun}{' with ' if look else ''}{look}"
    for noun, modality, look in itertools.product(NOUNS, MODALITIES["fused"][1:], looks):
        yield f"{modality} {noun}{' with ' if look else ''}{look}"


def _looks(meaning: Meaning) -> tuple[str, ...]:
    backgrounds, targets = BACKGROUNDS[meaning.background], TARGETS[meaning.targets]
    if not backgrounds or not targets:
        return backgrounds or targets
    pairs = tuple(itertools.product(backgrounds, targets))
    return (*(f"{a} and {b}" for a, b in pairs), *(f"{b} and {a}" for a, b in pairs))


def _degraded(meaning: Meaning) -> Iterator[str]:
    modalities = MODALITIES[meaning.modality]
    for noun, adjective, modality in itertools.product(NOUNS, ADJECTIVES[meaning.quality], modalities):
        yield f"{adjective} {modality} {noun}"
    for noun, modality, flaw in itertools.product(NOUNS, modalities, FLAWS[meaning.quality]):
        yield f"{modality} {noun} with {flaw}"


def _graded(meaning: Meaning, adverbs: Iterable[str]) -> Iterator[str]:
    if meaning.quality == CLEAN:
        return
    adjectives, modalities = ADJECTIVES[meaning.quality], MODALITIES[meaning.modality]
    for noun, adverb, adjective, modality in itertools.product(NOUNS, adverbs, adjectives, modalities):
        yield _with_article(f"{adverb} {adjective} {modality} {noun}")


def _with_article(text: str) -> str:
    text = " ".join(text.split())
    return f"{'an' if text[0] in 'aeiou' else 'a'} {text}"


def _is_unseen(text: str) -> bool:
    return hashlib.sha256(text.encode()).digest()[0] % UNSEEN_SHARE == 0


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())
