"""One face just inside and one just outside every threshold: the reason and the figures."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fdf.stages.rules import RULES, FaceView, RulesConfig, judge
from fdf.vocabulary import Reason
from tests.fakes import KEYPOINTS, face


def points(**moved: tuple[float, float, float]) -> tuple[float, ...]:
    """Keypoints with some of them moved."""
    places = {"nose": 0, "left_eye": 1, "right_eye": 2, "left_ear": 3}
    found = list(KEYPOINTS)
    for name, point in moved.items():
        found[3 * places[name] : 3 * places[name] + 3] = point
    return tuple(found)


def box(width: float, height: float) -> tuple[float, float, float, float]:
    return 200.0, 100.0, 200.0 + width, 100.0 + height


NARROW = {"min_face": 24, "keypoints_inside": False}
INSIDE_OUTSIDE: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any], Reason, str]] = [
    # config, columns just inside, columns just outside, reason, detail
    ({"min_score": 0.5}, {"score": 0.5}, {"score": 0.499}, Reason.LOW_SCORE, "0.499 < 0.5"),
    (NARROW, {"box": box(24, 99)}, {"box": box(23.9, 99)}, Reason.FACE_TOO_SMALL, "23.9 px < 24"),
    (NARROW, {"box": box(99, 24)}, {"box": box(99, 23.9)}, Reason.FACE_TOO_SMALL, "23.9 px < 24"),
    # fdf256: the side is 1.4 × the longer side of the box
    ({"min_crop": 70, "crop_rule": "fdf256", "keypoints_inside": False}, {"box": box(50, 40)}, {"box": box(49, 40)},
     Reason.CROP_TOO_SMALL, "68 px < 70"),
    ({"min_keypoint_confidence": 0.3}, {"keypoints": points(nose=(250, 170, 0.3))},
     {"keypoints": points(nose=(250, 170, 0.29))}, Reason.NO_KEYPOINTS, "nose 0.29 < 0.3"),
    ({"min_keypoint_confidence": 0.3}, {"keypoints": points(left_ear=(0, 0, 0))},
     {"keypoints": points(left_eye=(270, 140, 0.1))}, Reason.NO_KEYPOINTS, "left_eye 0.10 < 0.3"),
    ({"min_keypoint_confidence": 0.3}, {"keypoints": points(right_eye=(230, 140, 1))},
     {"keypoints": points(right_eye=(230, 140, 0))}, Reason.NO_KEYPOINTS, "right_eye 0.00 < 0.3"),
    ({}, {"keypoints": points(nose=(200, 100, 1))}, {"keypoints": points(nose=(199, 100, 1))},
     Reason.KEYPOINT_OUTSIDE, "nose at (199, 100)"),
    ({}, {"keypoints": points(left_eye=(300, 220, 1))}, {"keypoints": points(left_eye=(300, 221, 1))},
     Reason.KEYPOINT_OUTSIDE, "left_eye at (300, 221)"),
    ({}, {"keypoints": points(left_ear=(-50, 9, 1))}, {"keypoints": points(right_eye=(301, 140, 1))},
     Reason.KEYPOINT_OUTSIDE, "right_eye at (301, 140)"),
    *(({f"max_{name}": 45.0}, {name: sign * 45.0}, {name: sign * 46.0}, Reason.POSE_OUT_OF_RANGE,
       f"{name} {sign * 46}°, limit ±45°") for name in ("yaw", "pitch", "roll") for sign in (1, -1)),
    *(({f"max_{name}": 179.0}, {name: 0.0}, {name: None}, Reason.POSE_OUT_OF_RANGE, f"{name} unknown")
      for name in ("yaw", "pitch", "roll")),
    ({"min_sharpness": 15}, {"sharpness": 15.0}, {"sharpness": 14.9}, Reason.BLURRED, "14.9 < 15"),
    ({"min_brightness": 25}, {"brightness": 25.0}, {"brightness": 24.0}, Reason.TOO_DARK, "24 < 25"),
    ({"max_brightness": 235}, {"brightness": 235.0}, {"brightness": 236.0}, Reason.TOO_BRIGHT, "236 > 235"),
    ({"min_contrast": 8}, {"contrast": 8.0}, {"contrast": 7.9}, Reason.LOW_CONTRAST, "7.9 < 8"),
]  # fmt: skip


@pytest.mark.parametrize(("config", "inside", "outside", "reason", "detail"), INSIDE_OUTSIDE)
def test_thresholds(
    config: dict[str, Any], inside: dict[str, Any], outside: dict[str, Any], reason: Reason, detail: str
) -> None:
    settings = RulesConfig(**{"min_crop": 0, "min_face": 0} | config)
    assert judge(face(**inside), settings) is None
    assert judge(face(**outside), settings) == (reason, detail)


def test_crop_too_small_by_fdf128() -> None:
    one = face(box=box(60, 60))
    assert judge(one, RulesConfig(min_crop=102, keypoints_inside=False)) is None
    assert judge(one, RulesConfig(min_crop=103, keypoints_inside=False)) == (Reason.CROP_TOO_SMALL, "102 px < 103")


WORST: dict[str, Any] = {
    "box": (0.0, 0.0, 1.0, 1.0), "score": 0.0, "keypoints": (9.0, 9.0, 0.0) * 7, "yaw": None, "pitch": 180.0, "roll": -180.0,
    "sharpness": 0.0, "brightness": 0.0, "contrast": 0.0,
}  # fmt: skip
OFF: dict[str, Any] = {
    "min_score": 0, "min_face": 0, "min_crop": 0, "min_keypoint_confidence": 0, "keypoints_inside": False, "max_yaw": 180,
    "max_pitch": 180, "max_roll": 180, "min_sharpness": 0, "min_brightness": 0, "max_brightness": 255, "min_contrast": 0,
}  # fmt: skip


def test_a_threshold_of_0_or_a_full_range_turns_a_rule_off() -> None:
    assert judge(face(**WORST), RulesConfig(**OFF)) is None
    assert (
        judge(
            face(
                **WORST,
            )._replace(brightness=255.0),
            RulesConfig(**OFF),
        )
        is None
    )
    assert set(OFF) | {"crop_rule"} == set(RulesConfig.model_fields)


@pytest.mark.parametrize("name", sorted(OFF))
def test_each_rule_can_be_turned_off_alone_and_the_others_still_judge(name: str) -> None:
    everything_off_but_one = OFF | {name: RulesConfig.model_fields[name].default}
    bad = face(**WORST)._replace(brightness=255.0 if name == "max_brightness" else 0.0)
    assert judge(bad, RulesConfig(**everything_off_but_one)) is not None or name in ("max_yaw", "max_roll", "max_pitch")
    assert judge(bad, RulesConfig(**OFF)) is None


def test_the_first_rule_is_named() -> None:
    found = []
    config: dict[str, Any] = {}
    for _ in range(20):
        verdict = judge(face(**WORST), RulesConfig(**config))
        if verdict is None:
            break
        found.append(verdict[0])
        rule = next(rule for rule in RULES if rule(face(**WORST), RulesConfig(**config)))
        config |= {name: OFF[name] for name in SWITCH[rule.__name__]}
    assert found == [
        Reason.LOW_SCORE,
        Reason.FACE_TOO_SMALL,
        Reason.CROP_TOO_SMALL,
        Reason.NO_KEYPOINTS,
        Reason.KEYPOINT_OUTSIDE,
        Reason.POSE_OUT_OF_RANGE,
        Reason.TOO_DARK,
        Reason.LOW_CONTRAST,
        Reason.BLURRED,
    ]


SWITCH = {
    "low_score": ["min_score"],
    "face_too_small": ["min_face"],
    "crop_too_small": ["min_crop"],
    "no_keypoints": ["min_keypoint_confidence"],
    "keypoint_outside": ["keypoints_inside"],
    "pose_out_of_range": ["max_yaw", "max_pitch", "max_roll"],
    "exposure": ["min_brightness"],
    "low_contrast": ["min_contrast"],
    "blurred": ["min_sharpness"],
}


def test_every_rule_is_in_the_list() -> None:
    assert {rule.__name__ for rule in RULES} == set(SWITCH)


@given(st.floats(0, 1), st.floats(0, 300, width=32), st.floats(0, 300, width=32))
def test_a_face_is_refused_by_judge_just_when_one_rule_refuses_it(score: float, sharpness: float, light: float) -> None:
    config, one = RulesConfig(), face(score=score, sharpness=sharpness, brightness=light)
    verdicts = [verdict for rule in RULES if (verdict := rule(one, config))]
    assert judge(one, config) == (verdicts[0] if verdicts else None)


@pytest.mark.parametrize(
    "bad", [{"min_score": 1.1}, {"max_yaw": 181}, {"crop_rule": "fdf"}, {"min_yaw": 1}, {"min_face": -1}]
)
def test_impossible_thresholds_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RulesConfig(**bad)


def test_a_face_knows_its_key_and_size() -> None:
    one = face(box=(1.0, 2.0, 11.0, 7.0))
    assert (one.key, one.size) == (("p0", "f0"), 5.0)
    assert not dataclasses.is_dataclass(FaceView)  # a tuple: one is made for every face of the corpus
