"""Judges before methods that draw, without a policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import fdf.anonymize.detection
import fdf.anonymize.guard
import fdf.anonymize.methods
import fdf.cli.commands
from fdf.anonymize import calibration
from fdf.anonymize.audit_log import read_log
from fdf.anonymize.dissimilarity import Dissimilar, Judge
from fdf.anonymize.guard import Guard, make_guard
from fdf.anonymize.image import Anonymizer
from fdf.anonymize.methods import GREY
from fdf.cli.app import app
from fdf.errors import UsageError
from tests.anonymize.people import ADA, BEN, CARL, DORA, Bright, Colours, gallery, people
from tests.anonymize.pictures import encoded
from tests.anonymize.test_policy_dissimilarity import Draws, colour


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A threshold for the recognizer of colours."""
    fit = calibration.Fit(
        embedder="colours",
        sha256="c" * 64,
        data="colours",
        people=2,
        faces=4,
        pairs=1000,
        rates=[0.05],
        thresholds=[0.3],
    )
    made = calibration.Calibration(format="fdf-calibration", version=1, fit=[fit])
    monkeypatch.setattr(fdf.anonymize.guard, "shipped", lambda: made)


@pytest.mark.usefixtures("fitted")
def test_it_draws_again_until_nobody_is_resembled(tmp_path: Path) -> None:
    gallery(tmp_path, protected__ben=[BEN])
    guard = make_guard(tmp_path / "protected", tries=40, recognizer=Colours(), finder=Bright())
    anonymizer = Anonymizer(Draws([ADA, BEN, DORA]), guard=guard, salt="s")
    picture = people(ADA, ADA, ADA)
    result = anonymizer(picture, Bright().find(picture))
    assert [colour(result, place) for place in range(3)] == [DORA] * 3, "neither the source nor the protected"
    rows = anonymizer.drain()
    assert [row["passed"] for row in rows] == [True] * 3
    assert anonymizer.method.least == pytest.approx(min(row["judges"][0]["margin"] for row in rows))  # type: ignore[attr-defined]
    only = Anonymizer(Draws([ADA, BEN]), guard=guard, salt="s")
    given_up = only(picture, Bright().find(picture))
    assert {colour(given_up, place) for place in range(3)} == {GREY}
    assert given_up.outcomes[0].reason.startswith("40 faces drawn, all too much like")


def test_methods_that_draw_nothing_have_no_judges() -> None:
    def judges() -> tuple[Judge, ...]:
        raise AssertionError("no model is loaded for solid")

    anonymizer = Anonymizer("blur", fallback="solid", guard=Guard(judges))
    assert not isinstance(anonymizer.method, Dissimilar)


def test_a_recognizer_without_a_threshold_is_refused() -> None:
    with pytest.raises(UsageError, match="no fitted threshold for colours"):
        Anonymizer(Draws([ADA]), guard=make_guard(recognizer=Colours()))


@pytest.mark.usefixtures("fitted")
def test_its_fingerprint_is_of_whom_it_protects(tmp_path: Path) -> None:
    """A folder that is gone on with is made anew when somebody was put under protection."""

    def fingerprint() -> str:
        guard = make_guard(tmp_path / "protected", recognizer=Colours(), finder=Bright())
        return str(getattr(Anonymizer(Draws([ADA]), guard=guard).method, "fingerprint"))  # noqa: B009 - of some methods

    gallery(tmp_path, protected__ben=[BEN])
    first = fingerprint()
    assert fingerprint() == first
    gallery(tmp_path, protected__carl=[CARL])
    assert fingerprint() != first


# ---- the command line


@pytest.fixture
def drawing(monkeypatch: pytest.MonkeyPatch, fitted: None) -> Draws:
    method = Draws([ADA, CARL])
    monkeypatch.setattr(fdf.anonymize.detection, "FaceFinder", lambda *_, **__: Bright())
    monkeypatch.setattr(fdf.anonymize.guard, "Recognizer", lambda *_: Colours())
    known = fdf.anonymize.methods.make_method
    monkeypatch.setattr(
        fdf.anonymize.image, "make_method", lambda name, *rest: method if name == "gan" else known(name, *rest)
    )
    return method


def run(*words: object) -> Any:
    return CliRunner().invoke(app, ["anonymize", *map(str, words)])


def test_it_stands_before_gan_unless_it_is_sent_away(drawing: Draws, tmp_path: Path) -> None:
    from fdf.anonymize.codecs import read

    source, out, log = tmp_path / "a.png", tmp_path / "b.png", tmp_path / "log.jsonl"
    source.write_bytes(encoded(people(*[ADA] * 6), "PNG"))

    def middles(*words: object) -> set[tuple[int, ...]]:
        result = run(source, "-o", out, "--method", "gan", "--salt", "s", "--overwrite", *words)
        assert result.exit_code == 0, result.exception
        pixels = read(out.read_bytes()).stills[0].rgb
        said.append(result.stderr)
        return {tuple(pixels[40, 50 + 80 * place].tolist()) for place in range(6)}

    said: list[str] = []
    assert middles("--audit-log", log) == {CARL}
    assert "the nearest by" in said[0]
    rows = read_log(log)
    assert len(rows) == 6
    assert {row["judges"][0]["nearest"] for row in rows} == {"its source"}
    assert middles("--no-guard") == {ADA, CARL}, "half of them look like Ada again"
    assert said[1] == ""
    gallery(tmp_path, protected__carl=[CARL])
    assert middles("--protect", tmp_path / "protected") == {GREY}


def test_what_does_not_go_together(drawing: Draws, tmp_path: Path) -> None:
    source, rules = tmp_path / "a.png", tmp_path / "policy.toml"
    source.write_bytes(encoded(people(ADA), "PNG"))
    rules.write_text('format = "fdf-policy"\nversion = 1\naccess = "proxy"\n')
    words = (source, "-o", tmp_path / "b.png")
    assert "--no-guard does not go with --policy" in str(run(*words, "--policy", rules, "--no-guard").exception)
    assert "--protect does not go with --policy" in str(run(*words, "--policy", rules, "--protect", tmp_path).exception)
    assert "--protect needs the guard" in str(run(*words, "--no-guard", "--protect", tmp_path).exception)
    assert "--audit-log goes with" in str(run(*words, "--audit-log", tmp_path / "l.jsonl").exception)
    assert not (tmp_path / "b.png").exists()
    assert json.loads(run(*words, "--json").stdout)["counts"]["faces"] == 1
