"""Beginning with another run's weights: what a grown network does at first, and that nothing eaten before is forgotten."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from fdf.errors import DataError, ModelError, UsageError
from fdf.gan.takedown import models_that_ate
from tests.gan.making import SIDE, make_shards, mini, short

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")

import torch.nn.functional as F  # noqa: E402, N812

from fdf.gan.grow import inherited  # noqa: E402
from fdf.gan.loop import Request, Result, train  # noqa: E402
from fdf.gan.networks import Block, Discriminator, Generator, architecture  # noqa: E402
from fdf.gan.run import Run, read_checkpoint, write_checkpoint  # noqa: E402

torch.set_num_threads(1)  # small networks; two threads that wait for each other on a busy machine take minutes


def learnt(network: Any, seed: int = 1) -> Any:
    """A network whose blocks do something and whose filters are smooth, as learnt ones nearly are."""
    torch.manual_seed(seed)
    for part in network.modules():
        if isinstance(part, Block):
            torch.nn.init.normal_(part.close.weight, std=0.05)
    return network.eval().requires_grad_(False)


def smooth(side: int) -> tuple[Any, Any, Any, Any]:
    """Four pictures of slow waves with a hole in the middle, the same at every resolution."""
    at = (torch.arange(side) + 0.5) / side
    waves = torch.stack([torch.sin(6.28 * at[None] * k / 4) * torch.cos(6.28 * at[:, None]) for k in range(12)])
    mask = torch.zeros(4, 1, side, side)
    mask[..., side // 4 : side * 3 // 4, side // 4 : side * 3 // 4] = 1
    points = torch.cat(
        [torch.rand(4, 7, 2, generator=torch.Generator().manual_seed(0)) * side, torch.ones(4, 7, 1)], dim=2
    )
    z = torch.randn(4, 64, generator=torch.Generator().manual_seed(1))
    return waves.view(4, 3, side, side), mask, points, z


@pytest.mark.parametrize("size", ["tiny", "small"])
def test_a_grown_generator_draws_what_the_smaller_one_drew(size: str) -> None:
    torch.manual_seed(1)
    before, arch = architecture(size, 64), architecture(size, 128)
    small, fresh = learnt(Generator(before)), Generator(arch)
    grown = learnt(Generator(arch))
    grown.load_state_dict(inherited(fresh, small.state_dict(), before, Path("x")))

    def drawn(network: Any, side: int) -> Any:
        picture, mask, points, z = smooth(side)
        z = z.repeat(1, network.arch.latent // 64)
        return F.adaptive_avg_pool2d(network(picture, mask, points, z), 64)[..., 20:44, 20:44]  # within the hole

    wanted = drawn(small, 64)
    spread = (wanted - wanted.mean()).square().mean()
    assert (drawn(grown, 128) - wanted).square().mean() < 0.1 * spread
    assert (drawn(fresh, 128) - wanted).square().mean() > 0.5 * spread, "one that inherits nothing draws something else"


def test_a_grown_discriminator_judges_as_the_smaller_one_did() -> None:
    torch.manual_seed(1)
    before, arch = architecture("tiny", 64), architecture("tiny", 128)
    small, fresh = learnt(Discriminator(before)), Discriminator(arch)
    grown = learnt(Discriminator(arch))
    grown.load_state_dict(inherited(fresh, small.state_dict(), before, Path("x")))
    wanted, found = (network(*smooth(side)[:3]) for network, side in ((small, 64), (grown, 128)))
    assert (found - wanted).abs().max() < 0.25 * (wanted.max() - wanted.min())


def test_every_weight_of_the_smaller_one_goes_on_where_it_belongs() -> None:
    """Each level's layers one level on; styles of the old blocks where the blocks are read."""
    before, arch = architecture("tiny", 64), architecture("tiny", 128)
    small, grown = learnt(Generator(before)), Generator(arch)
    grown.load_state_dict(inherited(grown, small.state_dict(), before, Path("x")))
    for level, blocks in enumerate(small.decoder):
        for old, new in zip(blocks, grown.decoder[level + 1], strict=True):
            assert torch.equal(old.look.weight, new.look.weight)
    z = torch.randn(2, 64)
    for old, new in zip(small.style(z), grown.style(z), strict=False):
        assert torch.allclose(old[0], new[0], atol=1e-6)
        assert torch.allclose(old[1], new[1], atol=1e-6)


@pytest.mark.parametrize(
    ("size", "resolution", "got"), [("small", 128, "tiny at 64 px"), ("tiny", 256, "tiny at 64 px")]
)
def test_other_networks_are_refused(size: str, resolution: int, got: str) -> None:
    before = architecture("tiny", 64)
    network, weights = Generator(architecture(size, resolution)), Generator(before).state_dict()
    with pytest.raises(ModelError, match=rf"can't be gone on with by other networks.*of {size} at .*Got {got}\."):
        inherited(network, weights, before, Path("x"))


def test_the_same_name_with_other_widths_is_refused() -> None:
    before = dataclasses.replace(mini(), channels=(8, 16))
    with pytest.raises(ModelError, match="of other widths"):
        inherited(Generator(mini()), Generator(before).state_dict(), before, Path("x"))


Go = Callable[..., Result]


@pytest.fixture
def go(tmp_path: Path) -> Go:
    def run(shards: Path | None, pictures: int, **options: Any) -> Result:
        recipe = options.pop("recipe", short(pictures=pictures))
        result = train(Request(shards, recipe, tmp_path / "runs", device="cpu", arch=mini(), **options))
        assert result is not None
        return result

    return run


def owned(folder: Path, count: int, rights: str) -> Path:
    """Shards of one rights class and one owner, whose photos say so."""
    return make_shards(
        folder, count, rights=rights, change=lambda n, body: body | {"photo_id": f"{rights}{n}", "owner_nsid": rights}
    )


def test_what_was_eaten_before_is_never_forgotten(go: Go, tmp_path: Path) -> None:
    """Rights, lineage, takedown and card are of all that went into the weights, in runs that begin with others', too."""
    first = go(owned(tmp_path / "nc", 12, "by-nc"), 8)
    second = go(make_shards(tmp_path / "by", 6), 16, begin_with=first.run)
    third = go(owned(tmp_path / "pd", 6, "pd"), 8, begin_with=Run(second.run).latest())
    resumed = go(None, 24, resume=third.run)

    body = Run(third.run).read_json("lineage.json")
    assert [(one["run"], one["pictures"]) for one in body["ancestors"]] == [(second.run.name, 16), (first.run.name, 8)]
    assert body["weights_rights_class"] == "by-nc"
    assert body["rights_classes"] == {"pd": 6}, "its own faces"
    card = (resumed.run / "card.md").read_text(encoding="utf-8")
    assert "Rights: `by-nc`" in card
    assert card.count("**before it began**") == 2
    assert f"`{first.run.name}` at 8 pictures of {SIDE} px: drawn from 12 faces of 12 photos" in card

    eaten = {row["photo_id"]: row["first_picture"] for row in pq.read_table(third.run / "faces.parquet").to_pylist()}
    seen = sorted(name for name, picture in eaten.items() if name.startswith("by-nc"))
    assert len(seen) == 8, "those that the first run had drawn when the second began, not the other four"
    assert {eaten[name] for name in seen} == {-1}
    found = models_that_ate([tmp_path / "runs"], seen[:1])
    assert [run.name for run in found.ate] == [first.run.name, second.run.name, third.run.name]
    assert models_that_ate([tmp_path / "runs"], ["pd3"]).ate[0].name == third.run.name


def test_it_begins_with_the_weights_and_with_nothing_else(go: Go, tmp_path: Path) -> None:
    shards = make_shards(tmp_path / "shards", 12)
    first = go(shards, 16)
    second = go(
        shards,
        8,
        begin_with=first.run,
        recipe=short(pictures=8, seed=5).override(optimizer={"learning_rate": (1e-9, 1e-9)}),
    )
    (before, _), (after, meta) = (read_checkpoint(Run(run).latest(), "ema.") for run in (first.run, second.run))
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)
    assert (meta["pictures"], meta["steps"]) == (8, 1)
    start = json.loads((second.run / "run.json").read_text())["starts"][0]
    assert start["from_pictures"] == 0
    assert start["begun_with"] == {"run": first.run.name, "pictures": 16}


def test_objections_are_inherited(go: Go, tmp_path: Path) -> None:
    refusing = make_shards(
        tmp_path / "refusing", 6, change=lambda _, body: {**body, "consent_decision": "tdm_reserved"}
    )
    first = go(refusing, 8, force=True)
    good = make_shards(tmp_path / "good", 6)
    with pytest.raises(
        DataError, match=rf"{first.run.name}, whose weights it begins with, was trained against objections: 6"
    ):
        go(good, 8, begin_with=first.run)
    forced = go(good, 8, begin_with=first.run, force=True)
    assert "Trained against objections" in (forced.run / "card.md").read_text(encoding="utf-8")

    free = go(owned(tmp_path / "nc", 6, "by-nc"), 8)
    with pytest.raises(DataError, match=r"other rights classes than asked for \(by-nc\)"):
        go(good, 8, begin_with=free.run, recipe=short(pictures=8).override(data={"rights": ["by"]}))


def test_a_run_that_does_not_say_what_it_ate_is_no_beginning(go: Go, tmp_path: Path) -> None:
    shards = make_shards(tmp_path / "shards", 6)
    first = go(shards, 8)
    with pytest.raises(UsageError, match="A run that goes on has its weights already"):
        go(None, 16, resume=first.run, begin_with=first.run)
    faces, lineage = first.run / "faces.parquet", first.run / "lineage.json"
    kept = lineage.read_bytes()
    hidden = faces.rename(tmp_path / "hidden")
    for options in ({"begin_with": first.run}, {"resume": first.run}):
        with pytest.raises(DataError, match=r"ate is not known: faces\.parquet of its run isn't what it was made from"):
            go(shards, 8, **options)
    hidden.rename(faces)
    lineage.write_bytes(kept.replace(b'"by"', b'"pd"'))
    with pytest.raises(DataError, match=r"ate is not known: lineage\.json of its run isn't"):
        go(shards, 8, begin_with=first.run)
    lineage.write_bytes(b"{}")
    with pytest.raises(DataError, match=r"ate is not known: lineage\.json"):
        go(shards, 16, resume=first.run)
    assert len(list((tmp_path / "runs").iterdir())) == 1, "nothing was begun"


def test_weights_are_not_taken_for_those_of_another_run(go: Go, tmp_path: Path) -> None:
    """A checkpoint that was moved would bring the wrong rights with it, and be forgotten by takedown."""
    restricted = go(owned(tmp_path / "nc", 6, "by-nc"), 8)
    free = go(owned(tmp_path / "pd", 6, "pd"), 8)
    moved = free.run / "checkpoints" / "000000099.safetensors"
    shutil.copyfile(Run(restricted.run).latest(), moved)
    with pytest.raises(DataError, match=r"000000099\.safetensors ate is not known: lineage\.json and faces\.parquet"):
        go(tmp_path / "pd", 8, begin_with=free.run)
    alone = models_that_ate([free.run], ["by-nc0"])
    assert [one.path for one in alone.strangers] == [moved], "it has seen what its folder's run has not"
    assert "none of these runs ate what it was made from" in alone.strangers[0].why
    both = models_that_ate([free.run, restricted.run], ["by-nc0"])
    assert both.strangers == ()
    assert moved in [model.path for run in both.ate for model in run.models if run.path == restricted.run]
    lost = tmp_path / "x.safetensors"
    shutil.copyfile(moved, lost)
    with pytest.raises(UsageError, match=r"x\.safetensors lies in no run"):
        go(tmp_path / "pd", 8, begin_with=lost)
    with pytest.raises(UsageError, match="nowhere is no run"):
        go(tmp_path / "pd", 8, begin_with=tmp_path / "nowhere")


def test_a_renamed_checkpoint_has_still_seen_what_it_saw(go: Go, tmp_path: Path) -> None:
    first = go(make_shards(tmp_path / "shards", 12), 16)
    late = pq.read_table(first.run / "faces.parquet").filter(pc.field("first_picture") == 11)["photo_id"][0].as_py()
    path = Run(first.run).latest()
    for name in ("000000002.safetensors", "000000016.aside.safetensors"):
        path = path.rename(path.with_name(name))
        (model,) = models_that_ate([tmp_path / "runs"], [late]).ate[0].models
        assert (model.path, model.pictures) == (path, 16)


def test_damaged_weights_are_no_beginning(go: Go, tmp_path: Path) -> None:
    shards = make_shards(tmp_path / "shards", 6)
    first = go(shards, 8)
    path = Run(first.run).latest()
    tensors, meta = read_checkpoint(path)
    for damage, said in (
        (
            {name: value for name, value in tensors.items() if not name.startswith("discriminator")},
            "another architecture",
        ),
        ({name: value[:1] if value.ndim > 1 else value for name, value in tensors.items()}, "another architecture"),
        ({name: value * float("nan") for name, value in tensors.items()}, "are no numbers"),
    ):
        write_checkpoint(path, damage, meta)
        with pytest.raises(ModelError, match=said):
            go(shards, 8, begin_with=first.run)


def test_a_run_that_was_begun_goes_on_as_if_never_stopped(go: Go, tmp_path: Path) -> None:
    shards = make_shards(tmp_path / "shards", 12)
    first = go(shards, 8)
    recipe = short(pictures=32, checkpoint_every=8, keep=9)
    whole = go(shards, 32, begin_with=first.run, recipe=recipe)
    begun = go(
        shards,
        16,
        begin_with=first.run,
        recipe=recipe.override(run={"pictures": 16}, optimizer={"anneal_pictures": 32}),
    )
    resumed = go(None, 32, resume=begun.run, recipe=recipe.override(optimizer={"anneal_pictures": 32}))
    (one, _), (other, _) = (read_checkpoint(Run(run).latest()) for run in (whole.run, resumed.run))
    assert all(torch.equal(one[name], other[name]) for name in one)
