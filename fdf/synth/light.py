"""Light around people: environment maps of kinds of places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from fdf.synth.geometry import Floats, smoothstep
from fdf.synth.recipe import CameraConfig

WARM: Final = np.array([1.0, 0.84, 0.64])
COOL: Final = np.array([0.8, 0.9, 1.0])
PLACES: Final = {"studio": 0.16, "window": 0.22, "indoor": 0.24, "overcast": 0.2, "sun": 0.18}
_ROWS, _COLUMNS = 32, 64


@dataclass(frozen=True, eq=False)
class Light:
    """The light of one photo.

    Attributes:
        place: `studio`, `window`, `indoor`, `overcast`, `sun`, `night`.
        back: whether the main light stands behind the people.
        environment: float32 (rows, columns, 3), latitude–longitude, up is the first row.
    """

    place: str
    back: bool
    environment: npt.NDArray[np.float32]


def make_light(config: CameraConfig, rng: np.random.Generator) -> Light:
    """Draw the light of a photo."""
    night = rng.random() < config.night_share
    back = bool(rng.random() < config.backlight_share)
    place = "night" if night else str(rng.choice(list(PLACES), p=np.array(list(PLACES.values()))))
    directions = _directions()
    mixed = rng.random()
    level = {"overcast": 0.9, "sun": 0.45, "studio": 0.35, "night": 0.08}.get(place, 0.35)
    sky = (
        (COOL * mixed + WARM * (1 - mixed))
        if place in ("window", "indoor", "studio")
        else COOL * rng.uniform(0.9, 1.05, 3)
    )
    sky = sky * level * rng.uniform(0.6, 1.3)
    ground = np.array([0.5, 0.45, 0.4]) * level * rng.uniform(0.25, 0.8)
    up = smoothstep(-0.4, 0.5, directions[..., 1])[..., None]
    light = ground + (sky - ground) * up
    lamps = {"studio": 3, "indoor": 2, "night": 2, "overcast": 0}.get(place, 1)
    for lamp in range(lamps):
        behind = back and lamp == 0
        azimuth = rng.uniform(2.3, 4.0) if behind else rng.uniform(-1.5, 1.5)
        height = rng.uniform(0.1, 0.9) if place != "sun" else rng.uniform(0.35, 1.15)
        towards = np.array([np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)])
        sharp = np.exp(
            rng.uniform(*np.log({"sun": (80, 300), "window": (5, 14), "overcast": (2, 4)}.get(place, (6, 45))))
        )
        color = WARM if place in ("night", "indoor") or rng.random() < 0.35 else np.ones(3)
        power = rng.uniform(0.7, 2.0) * (1.6 if behind else 1.0) * (0.8 if place == "night" else 1.0)
        light = light + np.exp(sharp * (directions @ towards - 1))[..., None] * color * np.sqrt(sharp) * power
    light = light + 0.22 * light.mean(axis=(0, 1))  # what walls and ground send back
    return Light(place, back, light.astype(np.float32))


def _directions() -> Floats:
    theta = (np.arange(_ROWS) + 0.5) / _ROWS * np.pi
    phi = (np.arange(_COLUMNS) + 0.5) / _COLUMNS * 2 * np.pi
    sine = np.sin(theta)[:, None]
    return np.stack([sine * np.sin(phi), np.cos(theta)[:, None] + 0 * phi, -sine * np.cos(phi)], axis=-1)
