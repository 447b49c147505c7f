"""The trainer: stopped and gone on is the same as never stopped; whatever goes wrong, the last good checkpoint stays."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fdf.errors import DataError, FdfError, MachineError, ModelError, UsageError
from fdf.gan.config import TrainRecipe
from tests.conftest import ROOT, free_port
from tests.gan.making import make_shards, mini, rendered, short

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")

from fdf.gan import loop, training  # noqa: E402
from fdf.gan.loop import Request, Result, train  # noqa: E402
from fdf.gan.run import Run, read_checkpoint  # noqa: E402


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shards(tmp_path_factory.mktemp("shards"))


def go(
    shards: Path | None, runs: Path, recipe: TrainRecipe | None = None, report: Any = lambda _: None, **options: Any
) -> Result:
    request = {"device": "cpu", "arch": mini(), **options}
    result = train(Request(shards, recipe or short(), runs, **request), report)
    assert result is not None
    return result


def tensors(run: Path) -> dict[str, Any]:
    return read_checkpoint(Run(run).latest())[0]


def equal(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    return set(left) == set(right) and all(torch.equal(left[name], right[name]) for name in left)


def measured(run: Path) -> list[dict[str, float]]:
    timed = ("pictures_per_second", "data_wait_share", "seconds")
    return [{k: v for k, v in line.items() if k not in timed} for line in Run(run).metrics()]


def stop_at(pictures: int) -> Any:
    def report(line: Mapping[str, Any]) -> None:
        if line["pictures"] == pictures:
            os.kill(os.getpid(), signal.SIGTERM)

    return report


@pytest.fixture(scope="module")
def unbroken(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "1700000000")
        torch.set_num_threads(1)
        return go(shards, tmp_path_factory.mktemp("runs")).run


def test_a_run_explains_itself(unbroken: Path) -> None:
    names = {path.relative_to(unbroken).as_posix() for path in unbroken.rglob("*") if path.is_file()}
    assert {"recipe.toml", "run.json", "lineage.json", "metrics.jsonl", "card.md"} <= names
    assert {"faces.parquet", "samples.parquet"} <= names
    assert {"samples/000000024.png", "samples/000000048.png"} <= names
    assert {n for n in names if "checkpoints/" in n} == {f"checkpoints/{n:09d}.safetensors" for n in (32, 48)}, (
        "keeps two"
    )
    lines = measured(unbroken)
    assert [line["pictures"] for line in lines] == [8, 16, 24, 32, 40, 48]
    assert "r1" in lines[0]
    assert "r1" not in lines[1], "the penalty comes every eighth step"
    assert lines[0]["gamma"] < 2
    assert lines[-1]["gamma"] == pytest.approx(0.2)


def test_one_training_at_a_time_in_a_run(shards: Path, unbroken: Path, tmp_path: Path) -> None:
    run = tmp_path / unbroken.name
    shutil.copytree(unbroken, run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with Run(run).locked(), pytest.raises(MachineError, match=r"is being trained by another process.*then resume"):
        go(shards, tmp_path, short(pictures=64), resume=run)
    assert {path: path.read_bytes() for path in before} == before
    assert go(shards, tmp_path, resume=run).finished, "the lock goes with its holder"


def test_resumed_equals_unbroken(shards: Path, unbroken: Path, tmp_path: Path) -> None:
    """To the bit: weights, averages, Adam's moments, and every loss that was written down."""
    first = go(shards, tmp_path, report=stop_at(16))
    assert not first.finished
    assert first.pictures == 24, "the step that was begun is finished"
    assert Run(first.run).checkpoints()[-1][0] == 24, "SIGTERM leaves a checkpoint, whatever the interval"
    second = go(None, tmp_path, resume=first.run)
    assert second.finished
    assert second.run == first.run
    assert equal(tensors(second.run), tensors(unbroken))
    assert measured(second.run) == measured(unbroken)


def test_killed_between_checkpoints_it_goes_back_to_the_last_one(shards: Path, unbroken: Path, tmp_path: Path) -> None:
    def die(line: Mapping[str, Any]) -> None:
        if line["pictures"] == 40:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        go(shards, tmp_path, report=die)
    (run,) = tmp_path.iterdir()
    leftover = run / "checkpoints" / "000000040.safetensors.part-0123abcd"
    leftover.write_bytes(b"half")
    resumed = go(shards, tmp_path, resume=run)
    assert equal(tensors(resumed.run), tensors(unbroken))
    assert measured(resumed.run) == measured(unbroken), "no line twice"
    assert not leftover.exists()


def test_the_handlers_of_signals_are_put_back(shards: Path, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    go(shards, tmp_path, short(pictures=8))
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_the_seed_alone_makes_the_weights() -> None:
    one, two, other = (training.Trainer(mini(), short(**run), _here()) for run in ({}, {"accumulate": 2}, {"seed": 1}))
    assert equal(one.state()[0], two.state()[0])
    assert not equal(one.state()[0], other.state()[0])


def test_longer_than_asked_at_first_keeps_its_schedule(shards: Path, unbroken: Path, tmp_path: Path) -> None:
    run = go(shards, tmp_path, short(pictures=24)).run
    longer = go(shards, tmp_path, short(pictures=32).override(optimizer={"anneal_pictures": 24}), resume=run)
    assert longer.pictures == 32
    lines = measured(longer.run)
    assert lines[-1]["gamma"] == pytest.approx(0.2)
    starts = Run(run).read_json("run.json")["starts"]
    assert starts[1]["changes"] == ["run.pictures: 24 → 32"]
    assert starts[1]["from_pictures"] == 24


def _here() -> Any:
    from fdf.gan.machine import Place

    return Place(torch.device("cpu"))


def test_the_average_lags_behind_and_warms_up(shards: Path, tmp_path: Path) -> None:
    trainer = training.Trainer(mini(), short(), _here())
    assert trainer.schedule()["ema_pictures"] == 0
    trainer.pictures = 48
    assert trainer.schedule()["ema_pictures"] == pytest.approx(0.15 * 48)
    trainer.pictures = 10**6
    assert trainer.schedule()["ema_pictures"] == 3000


def test_the_cosine_of_the_schedule() -> None:
    assert training.anneal((2.0, 0.2), 0, 100) == pytest.approx(2.0)
    assert training.anneal((2.0, 0.2), 50, 100) == pytest.approx(1.1)
    assert training.anneal((2.0, 0.2), 100, 100) == pytest.approx(0.2)
    assert training.anneal((2.0, 0.2), 900, 100) == pytest.approx(0.2)


def test_bf16_where_it_is_asked_for(shards: Path, tmp_path: Path) -> None:
    result = go(shards, tmp_path, short(pictures=16, precision="bf16"))
    assert all(value.dtype == torch.float32 for value in tensors(result.run).values()), "weights stay fp32"
    assert Run(result.run).read_json("run.json")["starts"][0]["bf16"]
    auto = training.Trainer(mini(), short(), _here())
    assert not auto.bf16, "on the CPU only if asked"


def test_only_the_generator_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Any] = []
    monkeypatch.setattr(torch, "compile", lambda net: compiled.append(net) or net)
    trainer = training.Trainer(mini(), short(compile=True), _here())
    assert compiled == [trainer.generator]


def test_finite_differences_train_too(shards: Path, tmp_path: Path) -> None:
    recipe = short(pictures=8).override(optimizer={"finite_difference": 0.5})
    assert math.isfinite(measured(go(shards, tmp_path, recipe).run)[0]["r1"])


def test_a_loss_that_is_no_number_stops(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = training.generator_loss, []

    def poisoned(*arguments: Any) -> Any:
        calls.append(1)
        return real(*arguments) * (float("nan") if len(calls) > 4 else 1)

    monkeypatch.setattr(training, "generator_loss", poisoned)
    with pytest.raises(FdfError) as caught:
        go(shards, tmp_path)
    for said in ("stopped at 40 pictures", "loss is no number", "000000032.safetensors, is kept",
                 "Lower optimizer.learning_rate", "now 0.0003", "raise optimizer.gamma", "--resume"):  # fmt: skip
        assert said in str(caught.value)
    assert "r1" not in str(caught.value), "no penalty was measured since the line before"
    (run,) = tmp_path.iterdir()
    assert Run(run).checkpoints()[-1][0] == 32
    assert all(value.isfinite().all() for value in tensors(run).values())


def test_weights_that_are_no_numbers_are_never_saved(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.Trainer, "healthy", lambda self: self.pictures < 32)
    with pytest.raises(FdfError, match="weights are no numbers"):
        go(shards, tmp_path)
    (run,) = tmp_path.iterdir()
    assert [pictures for pictures, _ in Run(run).checkpoints()] == [16]


def test_a_full_disk_leaves_the_checkpoint_before(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync

    def fill(line: Mapping[str, Any]) -> None:
        def refuse(_: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", refuse if line["pictures"] == 32 else sync)

    with pytest.raises(MachineError) as caught:
        go(shards, tmp_path, report=fill)
    for said in ("checkpoint at 32 pictures was not written", "No space left", "has seen 16 pictures", "--resume"):
        assert said in str(caught.value)
    assert "partition" not in str(caught.value)
    (run,) = tmp_path.iterdir()
    assert [pictures for pictures, _ in Run(run).checkpoints()] == [16]
    assert not list(run.rglob("*.part-*"))
    monkeypatch.setattr(os, "fsync", sync)
    assert go(shards, tmp_path, resume=run).finished


@pytest.mark.parametrize("name", ["faces.parquet", "samples.parquet", "lineage.json", "run.json"])
def test_a_run_that_the_disk_does_not_take_is_not_begun(
    name: str, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync

    def refuse(descriptor: int) -> None:
        if list(tmp_path.glob(f"runs/*/{name}.part-*")):
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(
        MachineError, match=r"What the run will eat was not written.*Free some space and start again"
    ) as no:
        go(shards, tmp_path / "runs")
    assert "partition" not in str(no.value)
    assert not list((tmp_path / "runs").iterdir()), "no number is taken"


def test_interrupted_before_it_is_a_run_it_takes_no_number(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "write_shown", interrupt)
    with pytest.raises(KeyboardInterrupt):
        go(shards, tmp_path)
    assert not list(tmp_path.iterdir())


def test_each_step_is_told(shards: Path, tmp_path: Path) -> None:
    """Long before the first line of metrics, which may be minutes away."""
    seen: list[tuple[int, int]] = []
    request = Request(shards, short(metrics_every=48), tmp_path, device="cpu", arch=mini())
    train(request, stepped=lambda pictures, total: seen.append((pictures, total)))
    assert seen == [(pictures, 48) for pictures in (8, 16, 24, 32, 40, 48)]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_at_a_line_of_metrics(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = loop.Log.write

    def write(self: Any, line: Mapping[str, Any]) -> None:
        if line["pictures"] == 24:
            self._file.close()
            self._file = Path("/dev/full").open("a")  # noqa: SIM115 - as Log does
        real(self, line)

    monkeypatch.setattr(loop.Log, "write", write)
    with pytest.raises(MachineError) as caught:
        go(shards, tmp_path)
    (run,) = tmp_path.iterdir()
    for said in ("line of metrics at 24 pictures was not written", "No space left", "has seen 16 pictures",
                 f"Free some space, then go on with `fdf train --resume {run}`"):  # fmt: skip
        assert said in str(caught.value)
    assert "partition" not in str(caught.value)


def test_a_run_ends_with_a_whole_step_and_is_not_cut_back(shards: Path, tmp_path: Path) -> None:
    lines: list[Mapping[str, Any]] = []
    run = go(shards, tmp_path, short(pictures=10), report=lines.append).run
    assert [(line["pictures"], line["total"]) for line in lines] == [(8, 16), (16, 16)]
    before = {name: (run / name).read_bytes() for name in ("recipe.toml", "run.json")}
    with pytest.raises(UsageError, match=r"has seen more.*Expected --pictures 16 or more\. Got 8\. To go back"):
        go(None, tmp_path, short(pictures=8), resume=run)
    assert {name: (run / name).read_bytes() for name in before} == before
    again = go(None, tmp_path, short(pictures=10), resume=run)
    assert (again.finished, again.pictures) == (True, 16), "the number that it was begun with asks for nothing new"


def test_from_a_checkpoint_before(shards: Path, unbroken: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(unbroken, tmp_path / unbroken.name))
    earlier, latest = (path for _, path in Run(run).checkpoints())
    latest.write_bytes(damaged := latest.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"can't be read as a checkpoint.*Name the one before it"):
        go(None, tmp_path, resume=run)
    resumed = go(None, tmp_path, resume=earlier)
    assert resumed.run == run
    assert equal(tensors(run), tensors(unbroken))
    assert measured(run) == measured(unbroken), "no line twice"
    aside = earlier.with_name("000000048.aside.safetensors")
    assert aside.read_bytes() == damaged, "nothing is lost"
    start = Run(run).read_json("run.json")["starts"][1]
    assert (start["from_pictures"], start["set_aside"]) == (32, [aside.name])
    go(None, tmp_path, short(pictures=64), resume=earlier)
    assert [pictures for pictures, _ in Run(run).checkpoints()] == [48, 64], "keeps the two latest, of the new ones too"


def test_shards_that_moved_are_remembered(shards: Path, unbroken: Path, tmp_path: Path) -> None:
    """Another index of the same shards is as good; the lineage stays that of the first, which checkpoints carry."""
    run = Path(shutil.copytree(unbroken, tmp_path / unbroken.name))
    moved = Path(shutil.copytree(shards, tmp_path / "moved"))
    (moved / "index.json").write_text(json.dumps(json.loads((moved / "index.json").read_text()), indent=7))
    go(moved, tmp_path, resume=run)
    assert Run(run).read_json("run.json")["shards"] == str(moved)
    assert Run(run).read_json("lineage.json") == Run(unbroken).read_json("lineage.json")
    assert go(None, tmp_path, short(pictures=56), resume=run).pictures == 56


def test_a_checkpoint_of_another_architecture_is_refused(shards: Path, unbroken: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"checkpoint of another architecture.*Expected .*Got"):
        go(shards, tmp_path, resume=unbroken, arch=mini(latent=4))
    with pytest.raises(UsageError, match=r"another architecture.*model.size: tiny → small"):
        go(shards, tmp_path, short().override(model={"size": "small"}), resume=unbroken)


def test_other_faces_are_refused(unbroken: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="doesn't hold the faces"):
        go(make_shards(tmp_path / "other", 7), tmp_path / "runs", resume=unbroken)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu_where_one_is_asked_for(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="torch sees no GPU"):
        go(shards, tmp_path / "runs", device="cuda")
    assert not (tmp_path / "runs").exists()


def test_a_batch_that_cannot_be_divided(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"batch of 8 can't be divided evenly\. Expected a multiple of 3"):
        go(shards, tmp_path / "runs", short(accumulate=3))


def old(number: int, body: dict[str, Any]) -> dict[str, Any]:
    return body | ({"consent_date": "2023-01-31"} if number == 3 else {})


def refusing(number: int, body: dict[str, Any]) -> dict[str, Any]:
    return body | ({"consent_decision": "opted_out"} if number == 3 else {})


def at(day: str | None) -> Any:
    return lambda number, body: body | ({"consent_date": day} if number in (3, 4) else {})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (at(None), "when signals of 2 faces were looked at is not known ('None' instead of a day up to today)"),
        (at("soon"), "when signals of 2 faces were looked at is not known ('soon'"),
        (at("2999-01-01"), "when signals of 2 faces were looked at is not known ('2999-01-01'"),
        (old, "signals of 1 faces were looked at before"),
        (refusing, "no consent decision that allows it (1 × opted_out)"),
    ],
)
def test_stale_and_refusing_shards_only_by_force(change: Any, said: str, tmp_path: Path) -> None:
    folder = make_shards(tmp_path / "shards", 6, change=change)
    with pytest.raises(DataError) as caught:
        go(folder, tmp_path / "runs", short(pictures=8))
    assert said in str(caught.value)
    assert "--force" in str(caught.value)
    assert not (tmp_path / "runs").exists()
    run = go(folder, tmp_path / "runs", short(pictures=8), force=True).run
    card = (run / "card.md").read_text(encoding="utf-8")
    assert "Trained against objections" in card
    assert said in card
    go(folder, tmp_path / "runs", short(pictures=16), resume=run, force=True)
    assert "Trained against objections" in (run / "card.md").read_text(encoding="utf-8")


def test_shards_altered_since_the_index_only_by_force(tmp_path: Path) -> None:
    folder = make_shards(tmp_path / "shards", 6)
    index = json.loads((folder / "index.json").read_text())
    index["shards"][0]["sha256"] = "0" * 64
    (folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match="not the shard its index names"):
        go(folder, tmp_path / "runs", short(pictures=8))
    run = go(folder, tmp_path / "runs", short(pictures=8), force=True).run
    assert "1 shards are not the ones that the index names" in (run / "card.md").read_text(encoding="utf-8")
    assert "0" * 64 not in (run / "lineage.json").read_text(), "the digest of what was eaten, not of what was promised"


def test_what_nobody_permitted_only_by_force(tmp_path: Path) -> None:
    folder = make_shards(tmp_path / "shards", 6, rights="none")
    with pytest.raises(DataError, match=r"the licences of 6 faces allow nothing to be made of them \(6 × none\)"):
        go(folder, tmp_path / "runs", short(pictures=8))
    card = (go(folder, tmp_path / "runs", short(pictures=8), force=True).run / "card.md").read_text(encoding="utf-8")
    assert "a permission that nobody gave: all rights in some of it are reserved" in card


def test_an_objection_that_comes_later_is_on_the_card_of_what_was_made_before(tmp_path: Path, monkeypatch: Any) -> None:
    folder = make_shards(tmp_path / "shards", 6)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    run = go(folder, tmp_path / "runs", short(pictures=8)).run
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1800000000")
    with pytest.raises(DataError, match="they may have changed"):
        go(folder, tmp_path / "runs", short(pictures=8), resume=run)
    go(folder, tmp_path / "runs", short(pictures=8), resume=run, force=True)
    assert "Trained against objections" in (run / "card.md").read_text(encoding="utf-8"), "although nothing was trained"


def test_rendered_people_never_grow_stale(tmp_path: Path) -> None:
    def ancient(number: int, body: dict[str, Any]) -> dict[str, Any]:
        return rendered(number, body) | {"consent_date": "2001-01-01"}

    shards = make_shards(tmp_path / "shards", 6, rights="pd", change=ancient)
    run = go(shards, tmp_path / "runs", short(pictures=8)).run
    assert Run(run).read_json("lineage.json")["synthetic_faces"] == 6


DDP = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from fdf.gan.loop import Request, train
from making import mini, short
begin = Path(sys.argv[3])
result = train(Request(Path(sys.argv[1]), short(pictures=24), Path(sys.argv[2]), device="cpu", arch=mini(), begin_with=begin))
assert (result is None) == (__import__("os").environ["RANK"] != "0")
# A thread of gloo that is left may abort the interpreter at its end (Linux names them).
assert not [name for task in Path("/proc/self/task").glob("*/comm") if "gloo" in (name := task.read_text())]
"""


@pytest.mark.slow
def test_two_processes_do_what_one_does_with_two_parts(shards: Path, unbroken: Path, tmp_path: Path) -> None:
    script = tmp_path / "ddp.py"
    script.write_text(DDP)
    command = [
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        "--master-addr=127.0.0.1",
        f"--master-port={free_port()}",
    ]
    done = subprocess.run(
        [sys.executable, *command, str(script), str(shards), str(tmp_path / "two"), str(unbroken)],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=120,
        env={**os.environ,
             "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests/gan'}", "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (two,) = (tmp_path / "two").iterdir()
    one = go(shards, tmp_path / "one", short(pictures=24, accumulate=2), begin_with=unbroken).run
    left, right = tensors(one), tensors(two)
    assert set(left) == set(right)
    for name in left:
        torch.testing.assert_close(left[name], right[name], rtol=1e-4, atol=1e-6, msg=name)
    start = Run(two).read_json("run.json")["starts"][0]
    assert start["processes"] == 2
    assert [line["pictures"] for line in measured(two)] == [8, 16, 24]
    assert [line["loss_d"] for line in measured(two)] == pytest.approx(
        [line["loss_d"] for line in measured(one)], rel=1e-5
    )


def test_the_loop_asks_for_networks_by_name() -> None:
    with pytest.raises(UsageError, match="huge"):
        loop.architecture("huge", 64)
