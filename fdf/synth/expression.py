"""Expressions: named mixes of MakeHuman's face units (their names are those of ARKit's blend shapes)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np


def _both(**units: float) -> dict[str, float]:
    return {f"{name}{side}": weight for name, weight in units.items() for side in ("Left", "Right")}


EXPRESSIONS: Final[Mapping[str, Mapping[str, float]]] = {
    # At rest the mesh frowns a little: lifted inner brows and corners of the mouth make it calm.
    "neutral": {"browInnerUp": 0.1} | _both(mouthSmile=0.42, browOuterUp=0.22),
    "slight smile": {"browInnerUp": 0.1} | _both(mouthSmile=0.48, cheekSquint=0.2, browOuterUp=0.22),
    "smile": {"browInnerUp": 0.1} | _both(mouthSmile=0.8, cheekSquint=0.4, eyeSquint=0.15, browOuterUp=0.2),
    "open smile": {"jawOpen": 0.1, "browInnerUp": 0.1}
    | _both(browOuterUp=0.2, mouthSmile=0.85, mouthUpperUp=0.4, cheekSquint=0.45, eyeSquint=0.25, mouthLowerDown=0.2),
    "laugh": {"jawOpen": 0.26, "browInnerUp": 0.2}
    | _both(mouthSmile=0.85, mouthUpperUp=0.5, cheekSquint=0.65, eyeSquint=0.4, mouthLowerDown=0.3),
    "surprise": {"jawOpen": 0.38, "browInnerUp": 0.8} | _both(browOuterUp=0.7, eyeWide=0.6),
    "frown": _both(browDown=0.75, mouthFrown=0.45, mouthPress=0.35),
    "sad": {"browInnerUp": 0.75} | _both(mouthFrown=0.6, eyeBlink=0.15),
    "talk": {"jawOpen": 0.18, "mouthFunnel": 0.3, "browInnerUp": 0.12} | _both(browOuterUp=0.15, mouthSmile=0.15),
    "pout": {"mouthPucker": 0.5, "browInnerUp": 0.1} | _both(browOuterUp=0.15),
    "disgust": _both(noseSneer=0.7, mouthUpperUp=0.35, browDown=0.4, eyeSquint=0.3),
    "closed eyes": {"browInnerUp": 0.15} | _both(eyeBlink=0.95, mouthSmile=0.15),
}
"""Name → face unit → weight. Words for shapes of the face, not for feelings."""

SHARES: Final = (0.28, 0.19, 0.17, 0.12, 0.05, 0.03, 0.04, 0.03, 0.04, 0.015, 0.01, 0.025)

_JITTER: Final = (
    "mouthLeft", "mouthRight", "mouthSmileLeft", "browInnerUp", "browDownLeft", "browOuterUpRight", "mouthPucker",
    "eyeSquintLeft", "noseSneerLeft", "mouthPressLeft", "eyeSquintRight", "mouthDimpleRight",
)  # fmt: skip


def draw_expression(rng: np.random.Generator) -> tuple[str, dict[str, float]]:
    """A name and its face units, with a strength and small deviations of this one moment."""
    name = str(rng.choice(list(EXPRESSIONS), p=np.array(SHARES) / sum(SHARES)))
    strength = float(rng.uniform(0.6, 0.95))
    weights = {
        unit: weight * (1.0 if name == "closed eyes" else strength) for unit, weight in EXPRESSIONS[name].items()
    }
    for unit in _JITTER:
        weights[unit] = weights.get(unit, 0.0) + float(max(0.0, rng.normal(0, 0.07)))
    return name, weights


def morph_weights(units: Mapping[str, float], gaze: tuple[float, float]) -> dict[str, float]:
    """Morph targets of face units; the lids follow the gaze (degrees: to the subject's left, up)."""
    found = {f"unit/{unit}": weight for unit, weight in units.items()}
    lids = "Up" if gaze[1] > 0 else "Down"
    for side in ("Left", "Right"):
        found[f"unit/eyeLook{lids}{side}"] = min(1.0, abs(gaze[1]) / 25)
    return found
