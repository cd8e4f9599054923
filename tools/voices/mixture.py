"""The nearest voice, or the mixture of voices, that is most similar to a clip.

Nothing is cloned: Kokoro's style tables can be averaged, so what is looked for is the weighted mean of two or three
published voices whose sound has the embedding nearest to the clip's. Similar is not the same: see `SIMILAR`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sayso.items import Audio

if TYPE_CHECKING:
    from sayso.tools.voices.embed import Embedding

SIMILAR = 0.6
"""Least cosine that is called similar: about nine in ten pairs of different speakers are less alike (54 Kokoro voices
and 9 people, see docs/voices.md). Two clips of one person reach 0.78 in nine cases of ten."""

PROBE = "I would rather walk by the river this evening."
"""What mixtures are compared by: 2.5 s, a second of work on two cores."""

MAX_RENDERS = 7

Weights = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Fit:
    """What was found.

    Attributes:
        voice: A name, or a mixture such as ``af_heart:0.7+bf_emma:0.3``.
        likeness: Cosine between the clip and ``voice`` saying `PROBE`.
        nearest: The single voice that is nearest.
        nearest_likeness: Its cosine, likewise.
    """

    voice: str
    likeness: float
    nearest: str
    nearest_likeness: float

    @property
    def similar(self) -> bool:
        """Whether it may be called similar."""
        return self.likeness >= SIMILAR


def fit(
    target: Embedding,
    voices: Mapping[str, Embedding],
    speak: Callable[[str], Audio],
    embed: Callable[[Audio], Embedding],
    *,
    stopped: Callable[[], bool] = lambda: False,
) -> Fit:
    """Find what is most similar to a clip: at most `MAX_RENDERS` short renderings.

    The three nearest voices are taken; the nearest alone and their pairs in equal parts are heard, then the best pair
    with other weights, then with a quarter of the third voice. A mixture must beat the nearest voice to be chosen.

    Args:
        target: Of the clip.
        voices: The voices that may be used, at least one.
        speak: Says `PROBE` in a voice or mixture.
        embed: The embedding of that.
        stopped: Asked before each rendering; the best so far is returned once it is true.
    """
    ranked = sorted(voices, key=lambda name: -float(voices[name] @ target))[:3]
    heard: dict[str, float] = {}
    known: dict[str, Weights] = {}

    def hear(weights: Weights) -> None:
        spec = spelled(weights)
        if spec not in heard and not (heard and stopped()):
            known[spec] = weights
            heard[spec] = float(embed(speak(spec)) @ target)

    def best() -> Weights:
        return known[max(heard, key=lambda spec: heard[spec])]

    nearest = ranked[0]
    hear({nearest: 1.0})
    pairs = [(ranked[i], ranked[j]) for i in range(len(ranked)) for j in range(i + 1, len(ranked))]
    for one, other in pairs:
        hear({one: 0.5, other: 0.5})
    if len(best()) == 2:
        one, other = best()
        hear({one: 0.7, other: 0.3})
        hear({one: 0.3, other: 0.7})
        for third in set(ranked) - set(best()):
            hear({name: 0.75 * weight for name, weight in best().items()} | {third: 0.25})
    chosen = spelled(best())
    return Fit(chosen, heard[chosen], nearest, heard[nearest])


def spelled(weights: Weights) -> str:
    """Weights as `Context.speak_as` takes them, the heaviest first."""
    if len(weights) == 1:
        return next(iter(weights))
    ordered = sorted(weights.items(), key=lambda pair: -pair[1])
    return "+".join(f"{name}:{weight:.3g}" for name, weight in ordered)
