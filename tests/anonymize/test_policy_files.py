"""Policies on files and from the command line: real faces, rendered people who do not exist, groups, the log."""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import fdf.anonymize.detection
import fdf.anonymize.policy
import fdf.cli.commands
from fdf.anonymize.audit_log import AuditLog, read_log
from fdf.anonymize.base import Face
from fdf.anonymize.codecs import read
from fdf.anonymize.files import Settings, anonymize_bytes, anonymize_file
from fdf.anonymize.image import Anonymizer
from fdf.anonymize.methods import GREY
from fdf.anonymize.policy import load_policy, overlap
from fdf.cli.app import app
from fdf.errors import FdfError, MachineError
from tests.anonymize.people import ADA, ALLOWED, BEN, Bright, Colours, gallery, people, policy, written
from tests.anonymize.pictures import ASTRONAUT, encoded
from tests.conftest import ROOT

SAMPLE = ROOT / "fdf/data/sample"
runner = CliRunner()


@cache
def truth() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SAMPLE / "truth.jsonl").read_text().splitlines()]


@cache
def alone() -> dict[str, list[Path]]:
    """Identity → pictures of that person alone."""
    found = defaultdict(list)
    for row in truth():
        if len(row["faces"]) == 1:
            found[row["faces"][0]["identity"]].append(SAMPLE / "mirror" / row["file"])
    return dict(found)


def referenced(root: Path, **persons: list[Path]) -> None:
    for name, files in persons.items():
        folder = root / name.replace("__", "/")
        folder.mkdir(parents=True)
        for file in files:
            (folder / file.name).write_bytes(file.read_bytes())


def real_policy(root: Path, rules: str, access: str = "proxy") -> fdf.anonymize.policy.Policy:
    path = root / "real.toml"
    path.write_text(f'format = "fdf-policy"\nversion = 1\naccess = "{access}"\n{rules}')
    return load_policy(path)


def test_a_rendered_person_is_shown_among_others(tmp_path: Path) -> None:
    """Someone with pictures of her own, in a picture with others: she stays, they go."""
    groups = [row for row in truth() if len(row["faces"]) > 1]
    row, who = next(
        (row, one["identity"]) for row in groups for one in row["faces"] if len(alone().get(one["identity"], ())) > 1
    )
    referenced(tmp_path, allowed__her=alone()[who])
    found = real_policy(tmp_path, ALLOWED)
    path = SAMPLE / "mirror" / row["file"]
    _, report = anonymize_bytes(path.read_bytes(), None, Anonymizer(policy=found), name="group")
    decided = {}
    for one in row["faces"]:
        best = max(report.audit, key=lambda r, box=one["box"]: overlap(r["box"], box))
        decided[one["identity"]] = best["decision"], best["reason"], best["distance"]
    assert decided.pop(who)[:2] == ("shown", "is her")
    assert decided
    assert all(decision == "hidden" for decision, _, _ in decided.values()), decided
    assert report.counts["shown"] == 1


@pytest.fixture(scope="module")
def portraits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eileen Collins and Grace Hopper side by side, and other pictures of each: brighter, smaller, mirrored."""
    root = tmp_path_factory.mktemp("portraits")
    two = []
    for name, file in {"eileen": ASTRONAUT, "grace": alone()["grace-hopper"][0]}.items():
        picture = Image.open(file).convert("RGB")
        two.append(picture.resize((500, round(500 * picture.height / picture.width))).crop((0, 0, 500, 480)))
        (root / name).mkdir()
        other = picture.resize((round(picture.width * 0.8), round(picture.height * 0.8)))
        other = other.transpose(Image.Transpose.FLIP_LEFT_RIGHT).point(lambda v: min(255, round(v * 1.15)))
        other.save(root / name / "other.jpg", quality=85)
    both = Image.new("RGB", (1000, 480))
    both.paste(two[0], (0, 0))
    both.paste(two[1], (500, 0))
    both.save(root / "both.png")
    return root


def shown_of(report: Any) -> dict[str, bool]:
    sides = {"eileen": (0, 500), "grace": (500, 1000)}
    found = {}
    for name, (low, high) in sides.items():
        rows = [row for row in report.audit if low <= (row["box"][0] + row["box"][2]) / 2 < high]
        assert rows, name
        found[name] = any(row["decision"] == "shown" for row in rows)
    return found


@pytest.mark.parametrize(
    ("access", "extra", "expected"),
    [
        ("proxy", 'by = "NASA"', True),
        ("explicit", 'sha256 = ["{sha}"]', True),
        ("explicit", f'sha256 = ["{"0" * 64}"]', False),
    ],
)
def test_portraits(portraits: Path, access: str, extra: str, *, expected: bool) -> None:
    data = (portraits / "both.png").read_bytes()
    sha = hashlib.sha256(data).hexdigest()
    rules = f'[[rule]]\naction = "show"\nperson = "eileen"\n{extra.replace("{sha}", sha)}\n'
    found = real_policy(portraits, rules + '[[rule]]\naction = "hide"\nperson = "grace"\n', access)
    out, report = anonymize_bytes(data, None, Anonymizer(policy=found), name="both.png")
    assert shown_of(report) == {"eileen": expected, "grace": False}
    reasons = {row["reason"] for row in report.audit if row["decision"] == "hidden"}
    assert "grace is denied" in reasons
    if expected:
        row = next(row for row in report.audit if row["decision"] == "shown")
        assert row["distance"] < row["threshold"] == 0.419
        x0, y0, x1, y1 = (round(v) for v in row["box"])
        before, after = (read(bytes_).stills[0].rgb[y0:y1, x0:x1] for bytes_ in (data, out))
        assert np.array_equal(before, after), "not a pixel of her face is touched"


# ---- the command line

GROUPS = '[[rule]]\naction = "show"\nperson = "ada"\ngroups = ["family", "work"]\n'
GROUPS += '[[rule]]\naction = "show"\nperson = "ben"\ngroups = ["family"]\n'


@pytest.fixture
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fdf.anonymize.detection, "FaceFinder", lambda *_, **__: Bright())
    monkeypatch.setattr(fdf.anonymize.policy, "Recognizer", lambda *_: Colours())


def run(*words: object) -> Any:
    return runner.invoke(app, ["anonymize", *map(str, words)])


def seen(path: Path) -> list[Any]:
    picture = read(path.read_bytes()).stills[0].rgb
    return [tuple(int(v) for v in picture[40, 50 + 80 * n]) for n in range(picture.shape[1] // 80)]


@pytest.mark.usefixtures("colours")
def test_a_version_a_group(tmp_path: Path) -> None:
    gallery(tmp_path, ada=[ADA], ben=[BEN])
    rules, source = written(tmp_path, GROUPS, "groups"), tmp_path / "in/a.png"
    source.parent.mkdir()
    source.write_bytes(encoded(people(ADA, BEN), "PNG"))
    result = run(source, "-o", tmp_path / "out.png", "--policy", rules)
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "out.png").exists()
    assert seen(tmp_path / "out.family.png") == [ADA, BEN]
    assert seen(tmp_path / "out.work.png") == [ADA, GREY]
    assert "1 shown by the policy" in result.stdout
    log = read_log(tmp_path / "policy.audit.jsonl")
    assert [(row["group"], row["person"], row["decision"]) for row in log] == [
        ("family", "ada", "shown"),
        ("family", "ben", "shown"),
        ("work", "ada", "shown"),
        ("work", "ada", "hidden"),
    ]
    assert (tmp_path / "policy.audit.jsonl").stat().st_mode & 0o077 == 0
    one = run(source.parent, "-o", tmp_path / "outs", "--policy", rules, "--group", "work", "--json")
    assert one.exit_code == 0, one.output
    assert list(json.loads(one.stdout)["groups"]) == ["work"]
    assert [path.name for path in sorted((tmp_path / "outs").iterdir())] == ["work"]
    assert seen(tmp_path / "outs/work/a.png") == [ADA, GREY]
    assert isinstance(run(source, "-o", tmp_path / "x.png", "--policy", rules, "--group", "wrk").exception, FdfError)


@pytest.mark.usefixtures("colours")
def test_another_policy_makes_a_folder_anew(tmp_path: Path) -> None:
    gallery(tmp_path, allowed__ada=[ADA])
    rules, source, log = written(tmp_path, ALLOWED), tmp_path / "in/a.png", tmp_path / "log.jsonl"
    source.parent.mkdir()
    source.write_bytes(encoded(people(ADA), "PNG"))
    words = (source.parent, "-o", tmp_path / "out", "--policy", rules, "--audit-log", log)
    first = run(*words)
    assert "0 faces hidden; 1 shown by the policy. Report" in first.stdout, "a face that is shown was found"
    assert seen(tmp_path / "out/a.png") == [ADA]
    assert "1 done before" in run(*words).stdout
    written(tmp_path, '[[rule]]\naction = "hide"\npeople = "allowed"\n')
    assert "1 face hidden" in run(*words).stdout
    assert seen(tmp_path / "out/a.png") == [GREY]
    assert [row["reason"] for row in read_log(log)] == ["is ada", "ada is denied"]


@pytest.mark.usefixtures("colours")
def test_what_is_wrong_is_said_before_any_work(tmp_path: Path) -> None:
    source, out = tmp_path / "a.png", tmp_path / "b.png"
    source.write_bytes(encoded(people(ADA), "PNG"))
    assert "--group goes with --policy" in str(run(source, "-o", out, "--group", "x").exception)
    assert "--audit-log goes with --policy" in str(
        run(source, "-o", out, "--audit-log", tmp_path / "l.jsonl").exception
    )
    rules = written(tmp_path, ALLOWED)
    assert "can't be read" in str(run(source, "-o", out, "--policy", rules).exception)
    assert not out.exists()


# ---- the log


def test_no_output_without_its_log(tmp_path: Path) -> None:
    gallery(tmp_path, allowed__ada=[ADA])
    source, target = tmp_path / "a.png", tmp_path / "b.png"
    source.write_bytes(encoded(people(ADA), "PNG"))
    anonymizer = Anonymizer(finder=Bright(), policy=policy(tmp_path, ALLOWED))
    (tmp_path / "log").mkdir()
    with pytest.raises(MachineError):
        anonymize_file(source, target, anonymizer, Settings(audit=AuditLog(tmp_path / "log")))
    assert not target.exists()
    anonymize_file(source, target, anonymizer, Settings(audit=AuditLog(tmp_path / "log.jsonl")))
    (row,) = read_log(tmp_path / "log.jsonl")
    assert row["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert row["time"].endswith("+00:00")


def test_a_line_that_was_cut_off_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = AuditLog(path)
    log.append([{"a": 1}])
    path.write_bytes(path.read_bytes() + b'{"a": 2')
    log.append([{"a": 3}, {"a": 4}])
    log.append([])
    assert [row["a"] for row in read_log(path)] == [1, 3, 4]
    with pytest.raises(ValueError, match="JSON compliant"):
        log.append([{"a": float("nan")}])


def test_a_full_disk_leaves_nothing_of_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.jsonl"
    AuditLog(path).append([{"a": 1}])
    before, write = path.read_bytes(), os.write

    def full(descriptor: int, data: Any) -> int:
        if len(data) < 40:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[:20])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(MachineError, match="refuses to take more"):
        AuditLog(path).append([{"a": 2}] * 3)
    assert path.read_bytes() == before


def _many(path: Path, who: int) -> None:
    for n in range(25):
        AuditLog(path).append([{"who": who, "n": n, "filler": "x" * 5000}] * 2)


def test_several_runs_share_a_log(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with ThreadPoolExecutor(3) as pool:  # each opens the log for itself, as processes do
        list(pool.map(_many, [path] * 3, range(3)))
    rows = read_log(path)
    assert len(rows) == len(path.read_bytes().splitlines()) == 150
    for who in range(3):
        assert [row["n"] for row in rows if row["who"] == who] == [n for n in range(25) for _ in range(2)]


def test_the_library_call(tmp_path: Path) -> None:
    gallery(tmp_path, allowed__ada=[ADA])
    anonymizer = Anonymizer(finder=Bright(), policy=policy(tmp_path, ALLOWED))
    picture = people(ADA, BEN)
    result = anonymizer(picture)
    assert tuple(result.picture[40, 50]) == ADA
    assert tuple(result.picture[40, 130]) == GREY
    faces: list[Face] = Bright().find(picture)
    assert len(anonymizer.render(picture, faces).faces) == 2, "render hides whatever it is given"
    assert [one.reason for one in Anonymizer().decide(picture, faces)] == ["there is no policy"] * 2
