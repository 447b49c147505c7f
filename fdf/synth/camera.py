"""From traced light to a photo: light under the skin, exposure, white balance, blur, noise, tone curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from fdf.synth.geometry import Floats, srgb
from fdf.synth.light import Light
from fdf.synth.recipe import CameraConfig
from fdf.synth.render import Layers

# How far light spreads in skin by colour, millimetres, and how much of it does: after Jensen et al. 2001, two layers to one.
_SPREAD: Final = ((1.5, 0.65), (0.7, 0.5), (0.4, 0.4))
# Luminance a camera's meter gives a face of each Monk tone, linear: lighter skin is exposed brighter, though not in proportion.
_METER: Final = ((1.0, 5.0, 10.0), (0.40, 0.26, 0.095))
_LUMA: Final = np.array([0.2126, 0.7152, 0.0722])
_BRIGHTEST: Final = 1.15
"""Highest luminance, before the tone curve, that 97 % of a face may reach: nothing burns out."""

_SURROUNDINGS: Final = 0.03
"""Standard deviation of what counts as surroundings, over the picture's short side."""
_NOISE: Final = (0.001, 0.007)
"""Photos of such sizes are larger ones made smaller, and their noise with them."""


@dataclass(frozen=True)
class Look:
    """What the camera does to one photo.

    Attributes:
        blur: `none`, `focus`, `motion`; `blur_px` its size.
        noise: standard deviation at middle grey, linear.
        clarity: how much stronger contrast with the surroundings is made, as cameras and those who edit photos do.
        quality: of the JPEG.
    """

    blur: str
    blur_px: float
    angle: float
    noise: float
    balance: tuple[float, float, float]
    contrast: float
    clarity: float
    saturation: float
    exposure: float
    vignette: float
    quality: int


@dataclass(frozen=True)
class Metered:
    """A face to expose for: its box in whole pixels, and its tone."""

    box: tuple[int, int, int, int]
    monk: float


def make_look(config: CameraConfig, light: Light, size: int, rng: np.random.Generator) -> Look:
    """Draw what a camera does; `size` is the picture's short side."""
    night = light.place == "night"
    blurred = rng.random() < config.blur_share * (1.5 if night else 1)
    warm = rng.normal(0, 0.05)
    return Look(
        blur="none" if not blurred else str(rng.choice(["focus", "motion"])),
        blur_px=float(rng.uniform(0.5, 1.5) * size / 256),
        angle=float(rng.uniform(0, np.pi)),
        noise=float(np.exp(rng.uniform(*np.log(_NOISE))) * (2.2 if night else 1)),
        balance=(float(1 + warm), 1.0, float(1 - warm + rng.normal(0, 0.02))),
        contrast=float(rng.uniform(0, 0.4)),
        clarity=float(rng.uniform(0.0, 0.3)),
        saturation=float(rng.uniform(0.85, 1.2)),
        exposure=float(np.exp(rng.normal(0, 0.18))),
        vignette=float(max(0.0, rng.normal(0.1, 0.1))),
        quality=int(rng.integers(config.jpeg_quality[0], config.jpeg_quality[1] + 1)),
    )


def develop(
    layers: Layers,
    backdrop: Floats,
    faces: Sequence[Metered],
    light: Light,
    look: Look,
    millimetre: float,
    rng: np.random.Generator,
) -> npt.NDArray[np.uint8]:
    """A photo, uint8 (height, width, 3).

    Args:
        millimetre: pixels a millimetre at the largest face, for the light under the skin.
    """
    people = _under_skin(replace(layers, color=_calm(layers)), millimetre)
    gain = _exposure(people, layers, faces, light) * look.exposure
    picture = people * gain + backdrop * look.exposure * (1 - layers.alpha[..., None])
    height, width = picture.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    corner = ((x / width - 0.5) ** 2 + (y / height - 0.5) ** 2)[..., None]
    picture = picture * (1 - look.vignette * 1.6 * corner) * np.array(look.balance)
    taken = _sensor(_blur(picture, look), look, rng)
    grey = (taken @ _LUMA)[..., None]
    picture = np.maximum(grey + (taken - grey) * look.saturation, 0)
    picture = picture / (1 + 0.18 * picture) * 1.12
    picture = np.clip(srgb(np.clip(picture, 0, 1.5)), 0, 1)
    picture += look.contrast * (picture * picture * (3 - 2 * picture) - picture)
    picture += look.clarity * (picture - _gaussian(picture, _SURROUNDINGS * min(width, height)))
    return np.asarray(np.clip(picture, 0, 1) * 255 + 0.5, dtype=np.uint8)


def _gaussian(values: Floats, sigma: float) -> Floats:
    import cv2

    if sigma < 0.2:
        return values
    source = np.ascontiguousarray(values, dtype=np.float32)
    return np.asarray(cv2.GaussianBlur(source, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE), dtype=np.float64)


def _calm(layers: Layers) -> Floats:
    """Light with less of the tracer's noise: where neighbours have the same surface, light is averaged over them.

    A cross-bilateral filter (Eisemann and Durand 2004) on light over reflectance, guided by reflectance: no network.
    """
    albedo = np.maximum(layers.albedo, 0.02)
    received = _without_specks(layers.color / albedo, layers)
    for step in (1, 2):  # wider and wider with the same few taps: Dammertz et al. 2010
        received = _averaged(np.asarray(received), np.log(albedo), layers.alpha, step)
    return np.asarray(received * albedo)


def _without_specks(received: Floats, layers: Layers) -> Floats:
    """Single pixels that missed the light, or met all of it, brought near their neighbours' median."""
    import cv2

    level = np.log(received.mean(axis=-1) + 0.02).astype(np.float32)
    middle = cv2.medianBlur(level, 3)
    inside = (layers.alpha > 0.98) & (layers.albedo.mean(axis=-1) > 0.03)  # not pupils: they hold the catchlight
    wanted = np.clip(level, middle - 0.12, middle + 0.4)
    return np.asarray(received * np.where(inside, np.exp(wanted - level), 1.0)[..., None])


def _averaged(received: Floats, surface: Floats, alpha: Floats, step: int) -> Floats:
    total, weight = received.copy(), np.ones(received.shape[:2])
    level = np.log(received.mean(axis=-1) + 0.02)
    for dy in (-step, 0, step):
        for dx in (-step, 0, step):
            if dx or dy:
                move = {"shift": (dy, dx), "axis": (0, 1)}
                alike = ((surface - np.roll(surface, **move)) ** 2).sum(axis=-1) / 0.06
                alike += (alpha - np.roll(alpha, **move)) ** 2 / 0.02
                alike += (level - np.roll(level, **move)) ** 2 / (0.2 / step)
                share = np.exp(-alike) * (0.7 if dx and dy else 0.9)
                total += share[..., None] * np.roll(received, **move)
                weight += share
    return np.asarray(total / weight[..., None])


def _under_skin(layers: Layers, millimetre: float) -> Floats:
    """Blur the light on skin, not its colour (screen-space subsurface scattering, Jimenez et al. 2009)."""
    albedo = np.maximum(layers.albedo, 0.02)
    received = layers.color / albedo
    cover = layers.skin
    spread = np.empty_like(received)
    for c, (size, share) in enumerate(_SPREAD):
        sigma = max(size * millimetre, 0.45)
        total = _gaussian(received[..., c] * cover, sigma)
        weight = _gaussian(cover, sigma) + 1e-4
        spread[..., c] = received[..., c] * (1 - share) + share * total / weight
    return np.asarray(layers.color * (1 - cover[..., None]) + spread * albedo * cover[..., None])


def _exposure(people: Floats, layers: Layers, faces: Sequence[Metered], light: Light) -> float:
    """Gain that brings faces to their metered luminance, and none of them beyond what film holds."""
    wanted, limits = [], []
    luma = people @ _LUMA
    for face in faces:
        x0, y0, x1, y1 = face.box
        inside = luma[y0:y1, x0:x1][layers.skin[y0:y1, x0:x1] > 0.6]
        if inside.size < 12:
            continue
        target = np.interp(face.monk, *_METER)
        wanted.append(target / max(float(np.median(inside)), 1e-4))
        limits.append(_BRIGHTEST / max(float(np.quantile(inside, 0.97)), 1e-4))
    if not wanted:
        return 1.0
    gain = float(np.median(wanted)) * (0.75 if light.back else 1.0) * (0.85 if light.place == "night" else 1.0)
    return min(gain, float(np.quantile(limits, 0.2)))


def _blur(picture: Floats, look: Look) -> Floats:
    import cv2

    soft = _gaussian(picture, 0.35)  # no lens is sharper than its pixels
    if look.blur == "focus":
        return _gaussian(soft, look.blur_px)
    if look.blur == "motion":
        length = max(3, int(4 * look.blur_px) | 1)
        kernel = np.zeros((length, length), np.float32)
        t = np.linspace(-0.5, 0.5, 4 * length) * (length - 1)
        rows = np.round(length // 2 + t * np.sin(look.angle)).astype(int)
        columns = np.round(length // 2 + t * np.cos(look.angle)).astype(int)
        np.add.at(kernel, (rows, columns), 1)
        source = np.ascontiguousarray(soft, dtype=np.float32)
        return np.asarray(
            cv2.filter2D(source, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE), dtype=np.float64
        )
    return soft


def _sensor(picture: Floats, look: Look, rng: np.random.Generator) -> Floats:
    """Photon and read noise, smeared a little by the sensor's mosaic."""
    shot = look.noise * np.sqrt(np.maximum(picture, 0) / 0.2)
    noise = rng.standard_normal(picture.shape) * (0.85 * shot + 0.15 * look.noise)
    return np.asarray(np.maximum(picture + 0.5 * noise + 0.8 * _gaussian(noise, 0.6), 0))
