"""Who a person is: everything that stays the same from one photo to the next, drawn from a seed.

Face shapes are spread on purpose: sliders are drawn together in groups (a nose is long *and* thin, not each by itself), and
every face is pushed out to about the same distance from the mean, so that nobody is average.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from fdf.synth.geometry import Floats, stream
from fdf.synth.head import load_head
from fdf.synth.recipe import PeopleConfig

# Standard deviation of the sliders of a group, before the spread of the recipe.
_GROUP_SIGMA: Final = {
    "head": 0.36, "forehead": 0.4, "eyebrows": 0.38, "eyes": 0.48, "nose": 0.47, "mouth": 0.34, "ears": 0.35,
    "chin": 0.45, "cheek": 0.52, "neck": 0.22,
}  # fmt: skip
# Sliders that look broken at full strength, by a part of their name.
_DAMPED: Final = {
    "head-angle": 0.3, "head-trans": 0.2, "back-scale": 0.4, "pointed": 0.4, "prognathism": 0.45,
    "trans-in-out": 0.22, "neck-double": 0.4, "compression": 0.4, "head-age": 0.45, "head-scale": 0.5,
    "eye-push": 0.4, "septum": 0.5, "upperlip-ext": 0.5, "lowerlip-ext": 0.5, "eye-scale": 0.55,
    "laugh-lines": 0.6, "neck-trans": 0.2, "forehead-scale": 0.4, "nubian": 0.6, "nose-scale": 0.75,
    "nose-trans": 0.5, "nose-volume": 0.7, "mouth-trans": 0.7, "eye-trans": 0.75, "fat": 0.6,
}  # fmt: skip

# What recognizers tell people by most, beside age, tone and features: drawn not at random but apart (`_places`).
TRAITS: Final = (
    "under the eyes", "inner sockets", "upper lids", "lash line", "muzzle", "forehead", "hollows", "cheekbones", "bridge",
    "wings", "mottled", "lip lightness", "brow thickness", "brow height", "brow arch", "brow slope", "brow density",
)  # fmt: skip
_FACTORS: Final = ("head", "eyebrows", "eyes", "nose", "mouth", "cheek", "chin")
"""Groups whose two hidden factors are drawn apart, too."""
_BLOCK, _TRIES = 128, 12

_OUTLINES: Final = ("diamond", "invertedtriangular", "oval", "rectangular", "round", "square", "triangular")

IRIS: Final[Mapping[str, tuple[float, float, float]]] = {
    "dark": (0.035, 0.018, 0.010), "brown": (0.09, 0.04, 0.018), "hazel": (0.17, 0.11, 0.04),
    "green": (0.14, 0.18, 0.09), "blue": (0.15, 0.24, 0.36), "grey": (0.25, 0.28, 0.30),
}  # fmt: skip
HAIR: Final[Mapping[str, tuple[float, float, float]]] = {
    "black": (0.012, 0.010, 0.009), "dark brown": (0.035, 0.020, 0.012), "brown": (0.085, 0.045, 0.024),
    "auburn": (0.14, 0.050, 0.022), "red": (0.26, 0.09, 0.03), "dark blond": (0.22, 0.14, 0.07),
    "blond": (0.42, 0.30, 0.16),
}  # fmt: skip
GREYED: Final[Mapping[str, tuple[float, float]]] = {"grey": (0.25, 0.65), "white": (0.75, 0.98)}
"""Names of hair in which that share of hairs has no pigment left."""
BROW_GREYS, BEARD_GREYS = 0.4, 0.85
"""How much of the greying of the head brows and beards have: brows are the last to grey."""
_WHITE: Final = np.array([0.46, 0.455, 0.44])
MALE_STYLES: Final = {
    "bald": 0.07, "balding": 0.08, "buzz": 0.15, "crop": 0.17, "side": 0.2, "back": 0.12, "medium": 0.08,
    "afro": 0.04, "curls": 0.07, "long": 0.02,
}  # fmt: skip
FEMALE_STYLES: Final = {
    "long": 0.25, "waves": 0.14, "bob": 0.15, "fringe": 0.11, "bun": 0.14, "curls": 0.08, "side": 0.05, "afro": 0.05,
    "crop": 0.02, "buzz": 0.01,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Brows:
    """Shape of the eyebrows; lengths in decimetres."""

    thickness: float
    height: float
    arch: float
    slope: float
    inner: float
    outer: float
    density: float


@dataclass(frozen=True, eq=False)
class Identity:
    """One person. `seed` and `number` name them; everything else follows from these two.

    Attributes:
        feminine: 0 typically male to 1 typically female features; not a gender.
        age: years.
        monk: skin tone, 1 (lightest) to 10 (darkest) on the Monk scale, in between too.
        shape: weights of morph targets.
        spread: how far from the mean, as the recipe has it; the weights of `shape` have it in them.
        hair_young: (3,) linear colour of the hairs that still have pigment.
        greyed: 0–1, share of the hairs of the head that have none.
        curl: 0 straight to 1 tightly curled.
        hairline: how far the hairline recedes (positive) or comes down, decimetres.
        traits: in the order of `TRAITS`, each even in −1.7 to 1.7.
    """

    seed: int
    number: int
    feminine: float
    age: float
    monk: float
    shape: Mapping[str, float]
    spread: float
    hair_style: str
    hair_color: str
    hair_young: Floats
    greyed: float
    curl: float
    hairline: float
    beard: str
    brows: Brows
    iris: str
    freckles: float
    moles: int
    makeup: float
    glasses: bool
    lip_tint: float
    traits: Floats

    @property
    def key(self) -> str:
        """Name of the person in the truth."""
        return f"s{self.seed}-p{self.number:06d}"

    @property
    def hair_rgb(self) -> Floats:
        """Mean linear colour (3,) of the hair of the head."""
        return self.hair_mixed(self.greyed)

    def hair_mixed(self, white: npt.ArrayLike) -> Floats:
        """Linear colour (…, 3) of hair of which a share (…) has no pigment left."""
        share = np.asarray(white, dtype=np.float64)[..., None]
        return np.asarray(self.hair_young + share * (_WHITE - self.hair_young))

    def trait(self, name: str) -> float:
        """One of `TRAITS`: mean 0, standard deviation about 1."""
        return float(self.traits[TRAITS.index(name)])

    def stream(self, purpose: str) -> np.random.Generator:
        """Random numbers that belong to this person."""
        return stream(self.seed, "person", self.number, purpose)


def make_identity(seed: int, number: int, config: PeopleConfig) -> Identity:
    """Draw person `number` of a seed."""
    rng = stream(seed, "person", number, "identity")
    between = rng.random() < config.between_share
    female = rng.random() < config.female_share
    feminine = float(
        rng.uniform(0.3, 0.7) if between else np.clip((0.96 if female else 0.04) + rng.normal(0, 0.06), 0, 1)
    )
    low, high = config.age_years
    age = float(rng.uniform(low, high))
    weights = np.array(config.monk_weights)
    monk = float(np.clip(rng.choice(10, p=weights / weights.sum()) + 1 + rng.uniform(-0.5, 0.5), 1, 10))
    mix = _mix(monk, rng)
    place = _places(seed, number // _BLOCK)[number % _BLOCK]
    traits, factors = place[: len(TRAITS)], place[len(TRAITS) :].reshape(-1, 2)
    shape = _body(feminine, age, mix, rng) | _sliders(
        config.shape_spread, dict(zip(_FACTORS, factors, strict=True)), rng
    )
    style, curl = _hair_style(feminine, age, monk, mix, rng)
    color, young = _hair_color(feminine, age, monk, mix, rng)
    light_eyes = monk < 4.5 and mix[2] > 0.45
    iris = str(
        rng.choice(list(IRIS), p=[0.12, 0.25, 0.15, 0.12, 0.24, 0.12] if light_eyes else [0.5, 0.42, 0.08, 0, 0, 0])
    )
    may_beard = feminine < 0.45 and rng.random() < config.beard_share
    beards = {"stubble": 0.42, "full": 0.22, "short": 0.16, "goatee": 0.1, "moustache": 0.1}
    return Identity(
        seed=seed,
        number=number,
        feminine=feminine,
        age=age,
        monk=monk,
        shape=shape,
        spread=config.shape_spread,
        hair_style=style,
        hair_color=color,
        hair_young=np.array(HAIR[young]) * rng.uniform(0.75, 1.3) * (1 + rng.normal(0, 0.05, 3)),
        greyed=float(rng.uniform(*GREYED[color])) if color in GREYED else 0.0,
        curl=curl,
        hairline=_hairline(feminine, age, rng),
        beard=str(rng.choice(list(beards), p=list(beards.values()))) if may_beard else "none",
        brows=_brows(feminine, age, traits, rng),
        iris=iris,
        freckles=float(max(0.0, rng.normal(-0.1, 0.5))) if monk < 4.5 else 0.0,
        moles=int(rng.poisson(2.5)),
        makeup=float(rng.uniform(0.4, 1)) if feminine > 0.6 and rng.random() < config.makeup_share else 0.0,
        glasses=bool(rng.random() < config.glasses_share),
        lip_tint=float(rng.normal(0, 1)),
        traits=traits,
    )


@lru_cache(maxsize=32)
def _places(seed: int, block: int) -> Floats:
    """Traits and factors of `_BLOCK` people (rows): each the one of a few draws that lies farthest from those before.

    Blocks keep a person independent of whom else is asked for, and the cost of large numbers small.
    """
    rng = stream(seed, "places", block)
    drawn = rng.uniform(-np.sqrt(3), np.sqrt(3), (_BLOCK, _TRIES, len(TRAITS) + 2 * len(_FACTORS)))
    placed = drawn[:, 0]
    for row in range(1, _BLOCK):
        apart = ((drawn[row][:, None] - placed[None, :row]) ** 2).sum(axis=-1).min(axis=1)
        placed[row] = drawn[row, apart.argmax()]
    placed = placed.copy()
    placed.setflags(write=False)  # shared by all who ask
    return np.asarray(placed)


def _mix(monk: float, rng: np.random.Generator) -> Floats:
    """Weights of MakeHuman's three sets of features (african, asian, caucasian), loosely tied to the skin tone only."""
    leaning = np.array([monk / 10, 0.55 - abs(monk - 4.5) / 10, 1.05 - monk / 10]) ** 1.5
    main = rng.choice(3, p=leaning / leaning.sum())
    mix = rng.dirichlet([0.6] * 3) * 0.35
    mix[main] += 0.75
    return np.asarray(mix / mix.sum() * rng.uniform(0.85, 1.2))


def _body(feminine: float, age: float, mix: Floats, rng: np.random.Generator) -> dict[str, float]:
    """MakeHuman's macro targets: products of linear steps in gender, age, muscle and weight."""
    muscle, weight = rng.uniform(0.2, 0.85), float(np.clip(rng.normal(0.52, 0.27), 0.02, 1))
    old = float(np.clip((age - 25) / 65, 0, 1))
    genders = {"male": 1 - feminine, "female": feminine}
    ages = {"young": 1 - old, "old": old}
    muscles = _steps(muscle, "muscle")
    fats = _steps(weight, "weight")
    known = load_head().targets
    found: dict[str, float] = {}
    for gender, g in genders.items():
        for stage, a in ages.items():
            for name, share in zip(("african", "asian", "caucasian"), mix, strict=True):
                found[f"macro/{name}-{gender}-{stage}"] = g * a * float(share)
            for m, mw in muscles.items():
                for f, fw in fats.items():
                    target = f"macro/universal-{gender}-{stage}-{m}-{f}"
                    if target in known:
                        found[target] = g * a * mw * fw
    return found


def _steps(value: float, name: str) -> dict[str, float]:
    return {
        f"min{name}": max(0.0, 1 - 2 * value),
        f"average{name}": 1 - abs(2 * value - 1),
        f"max{name}": max(0.0, 2 * value - 1),
    }


def _sliders(spread: float, apart: Mapping[str, Floats], rng: np.random.Generator) -> dict[str, float]:
    """Weights of the shape sliders: correlated within a group, pushed out to an even distance, a little asymmetric."""
    head = load_head()
    names = list(head.controls)
    sigma = np.array([_GROUP_SIGMA[name.split("/")[0]] * _damping(name) for name in names])
    groups = [name.split("/")[0] for name in names]
    own = rng.normal(0, 1, len(names))
    for group in _GROUP_SIGMA:
        rows = [row for row, name in enumerate(groups) if name == group]
        # Two hidden factors a group carry half of the variance: features of one person belong together.
        mixing, hidden = rng.normal(0, 1, (len(rows), 2)), rng.normal(0, 1, 2)
        factors = mixing @ apart.get(group, hidden) / np.sqrt(2)
        own[rows] = np.sqrt(0.5) * own[rows] + np.sqrt(0.5) * factors
    own *= np.sqrt(len(own)) / np.linalg.norm(own)
    outlines = [row for row, name in enumerate(names) if name.removeprefix("head/head-") in _OUTLINES]
    sigma[[row for row in outlines if row != rng.choice(outlines)]] = (
        0  # one outline a head: several at once make cones
    )
    values = np.clip(own * sigma * spread, -1, 1)
    values[outlines] = np.abs(values[outlines]) * 1.6
    weights: dict[str, float] = {}
    for name, value in zip(names, values, strict=True):
        low, high = head.controls[name]
        for target in high if value > 0 else low:
            weights[target] = weights.get(target, 0.0) + abs(float(value))
    for target in head.targets:
        if target.startswith("asym/"):
            weights[target] = float(max(0.0, rng.normal(0, 0.14)))
    return weights


def _damping(name: str) -> float:
    return float(np.prod([factor for part, factor in _DAMPED.items() if part in name]))


def _hair_style(feminine: float, age: float, monk: float, mix: Floats, rng: np.random.Generator) -> tuple[str, float]:
    female = rng.random() < feminine
    styles = dict(FEMALE_STYLES if female else MALE_STYLES)
    if mix[0] > 0.5 and monk > 5:
        for name, factor in {
            "afro": 5.0,
            "curls": 3.0,
            "buzz": 2.0,
            "bun": 1.5,
            "side": 0.2,
            "back": 0.2,
            "fringe": 0.3,
        }.items():
            if name in styles:
                styles[name] *= factor
    if age > 55 and not female:
        styles = {name: p * {"bald": 2.0, "balding": 4.0}.get(name, 1.0) for name, p in styles.items()}
    p = np.array(list(styles.values()))
    style = str(rng.choice(list(styles), p=p / p.sum()))
    tight = mix[0] > 0.5 and monk > 5
    curl = rng.uniform(0.6, 1) if tight else rng.choice([0.0, 0.15, 0.45], p=[0.55, 0.3, 0.15])
    return style, float({"afro": max(curl, 0.7), "curls": max(curl, 0.5), "waves": max(curl, 0.3)}.get(style, curl))


def _hair_color(feminine: float, age: float, monk: float, mix: Floats, rng: np.random.Generator) -> tuple[str, str]:
    """Its name, and that of the colour that it has or had before it greyed."""
    if monk > 5 or mix[2] < 0.45:
        young = str(rng.choice(["black", "dark brown", "brown"], p=[0.66, 0.28, 0.06]))
    else:
        names = ["black", "dark brown", "brown", "auburn", "red", "dark blond", "blond"]
        young = str(rng.choice(names, p=[0.1, 0.24, 0.25, 0.09, 0.06, 0.14, 0.12]))
    greying = float(np.clip((age - 40) / 40, 0, 0.9)) * (1 - 0.45 * feminine)  # many women dye it
    if rng.random() < greying:
        return "white" if rng.random() < np.clip((age - 60) / 40, 0, 0.6) else "grey", young
    return young, young


def _hairline(feminine: float, age: float, rng: np.random.Generator) -> float:
    receding = (1 - feminine) * np.clip((age - 25) / 60, 0, 1) * rng.uniform(0, 0.28)
    return float(rng.normal(-0.02, 0.05) + receding)


def _brows(feminine: float, age: float, traits: Floats, rng: np.random.Generator) -> Brows:
    male = 1 - feminine
    # Even in 0–1, for ranges.
    share = {name: 0.5 + 0.5 * float(value) / np.sqrt(3) for name, value in zip(TRAITS, traits, strict=True)}
    return Brows(
        thickness=float((0.022 + 0.034 * share["brow thickness"]) * (0.8 + 0.45 * male)),
        height=float(0.07 * (share["brow height"] - 0.5) - 0.012 * male),
        arch=float(0.09 * share["brow arch"] * (1.1 - 0.35 * male)),
        slope=float(0.075 * (share["brow slope"] - 0.5) - 0.016),
        inner=float(rng.uniform(0.06, 0.16)),
        outer=float(rng.uniform(0.44, 0.63)),
        density=float((0.42 + 0.66 * share["brow density"]) * (1 - 0.3 * np.clip((age - 60) / 30, 0, 1))),
    )
