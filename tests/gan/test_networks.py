"""Shapes, sizes, a calm start, and above all: what lies in the hole has no influence."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch", reason="fdf.gan needs the extra [torch]")

from fdf.errors import ModelError, UsageError  # noqa: E402
from fdf.gan.conditions import composite, cover, heat_maps  # noqa: E402
from fdf.gan.networks import Architecture, Block, Discriminator, Generator, architecture, blended, double  # noqa: E402

torch.set_num_threads(1)  # small networks; two threads that wait for each other on a busy machine take minutes
RESOLUTIONS = (64, 128, 256)
MILLIONS = {"tiny": (2.5, 3.5), "small": (5, 7), "base": (21, 25)}
DISCRIMINATOR_MILLIONS = {"tiny": (1.2, 1.6), "small": (2, 3), "base": (7, 9)}


def inputs(arch, count=2, seed=0):
    """Noise, a hole in the middle, keypoints, z."""
    torch.manual_seed(seed)
    side = arch.resolution
    picture = torch.rand(count, 3, side, side) * 2 - 1
    mask = torch.zeros(count, 1, side, side)
    mask[..., side // 4 : side * 7 // 8, side // 4 : side * 3 // 4] = 1
    keypoints = torch.cat([torch.rand(count, 7, 2) * side, torch.ones(count, 7, 1)], dim=2)
    return picture, mask, keypoints, torch.randn(count, arch.latent)


@pytest.fixture(scope="module")
def trained():
    """A generator whose blocks do something: the last convolutions don't stay zero."""
    torch.manual_seed(1)
    generator = Generator(architecture("tiny", 64)).eval()
    for block in generator.modules():
        if isinstance(block, Block):
            torch.nn.init.normal_(block.close.weight, std=0.05)
    return generator


@pytest.mark.parametrize("resolution", RESOLUTIONS)
@pytest.mark.parametrize("size", MILLIONS)
def test_sizes_are_what_their_names_promise(size, resolution):
    with torch.device("meta"):
        arch = architecture(size, resolution)
        generator, discriminator = Generator(arch), Discriminator(arch)
        picture, mask, keypoints, z = (value.to("meta") for value in inputs(arch))
        filled = generator(picture, mask, keypoints, z)
        logits = discriminator(filled, mask, keypoints)
    assert filled.shape == picture.shape
    assert logits.shape == (2,)
    for network, (low, high) in ((generator, MILLIONS[size]), (discriminator, DISCRIMINATOR_MILLIONS[size])):
        assert low <= sum(weight.numel() for weight in network.parameters()) / 1e6 <= high


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_it_runs_and_starts_calm(resolution):
    arch = architecture("tiny", resolution)
    torch.manual_seed(0)
    generator, discriminator = Generator(arch), Discriminator(arch)
    picture, mask, keypoints, z = inputs(arch)
    with torch.no_grad():
        filled = generator(picture, mask, keypoints, z)
        logits = discriminator(filled, mask, keypoints)
    assert 0.02 < filled[mask.expand_as(filled) > 0.5].std() < 1
    assert logits.abs().max() < 3


def test_blocks_start_as_identity():
    x = torch.randn(1, 32, 8, 8)
    assert torch.equal(Block(32, 16, 10)(x), x)


@pytest.mark.parametrize("size", ["tiny", "base"])
def test_the_depth_does_not_change_the_spread(size):
    torch.manual_seed(0)
    arch = architecture(size, 64)
    generator = Generator(arch)
    spreads = []
    generator.head.register_forward_pre_hook(lambda _, args: spreads.append(args[0].std().item()))
    generator.stem.register_forward_hook(lambda _m, _a, out: spreads.append(out.std().item()))
    with torch.no_grad():
        generator(*inputs(arch, 1))
    first, last = spreads
    assert first / 3 < last < first * 6


@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), 0.3])
def test_the_face_has_no_influence(trained, garbage):
    picture, mask, keypoints, z = inputs(trained.arch)
    other = torch.where(mask > 0.5, garbage, picture)
    with torch.no_grad():
        assert torch.equal(trained(picture, mask, keypoints, z), trained(other, mask, keypoints, z))


def test_no_gradient_comes_from_the_face(trained):
    picture, mask, keypoints, z = inputs(trained.arch)
    picture.requires_grad_()
    filled = trained(picture, mask, keypoints, z)
    (slope,) = torch.autograd.grad(filled.square().sum(), picture)
    hole = mask.expand_as(slope) > 0.5
    assert not slope[hole].any()
    assert slope[~hole].any()


def test_outside_the_hole_nothing_changes(trained):
    picture, mask, keypoints, z = inputs(trained.arch)
    with torch.no_grad():
        filled = trained(picture, mask, keypoints, z)
    outside = (mask < 0.5).expand_as(picture)
    assert torch.equal(filled[outside], picture[outside])
    assert not torch.equal(filled[~outside], picture[~outside])


def test_half_precision_keeps_the_outside(trained):
    half = Generator(trained.arch).half().eval()
    picture, mask, keypoints, z = inputs(trained.arch)
    with torch.no_grad():
        filled = half(picture, mask, keypoints, z)
    outside = (mask < 0.5).expand_as(picture)
    assert filled.dtype == torch.float32
    assert torch.equal(filled[outside], picture[outside])


def test_z_and_keypoints_have_influence(trained):
    picture, mask, keypoints, z = inputs(trained.arch)
    with torch.no_grad():
        filled = trained(picture, mask, keypoints, z)
        assert not torch.equal(filled, trained(picture, mask, keypoints, -z))
        assert not torch.equal(filled, trained(picture, mask, keypoints.flip(1), z))


def test_positions_of_missing_keypoints_are_irrelevant(trained):
    picture, mask, keypoints, z = inputs(trained.arch)
    keypoints[:, 2:5, 2] = 0
    other = keypoints.clone()
    other[:, 2, :2] = float("nan")
    other[:, 3, :2] = 1e9
    other[:, 4] = float("nan")  # a presence that is no number counts as missing
    with torch.no_grad():
        assert torch.equal(trained(picture, mask, keypoints, z), trained(picture, mask, other, z))


def test_a_mask_that_is_not_a_number_hides():
    picture = torch.ones(1, 3, 8, 8)
    mask = torch.full((1, 1, 8, 8), float("nan"))
    assert not cover(picture, mask).any()
    assert not composite(picture, torch.zeros_like(picture), mask, 2).any()


def test_a_heat_map_is_a_hill_at_every_scale():
    keypoints = torch.zeros(1, 7, 3)
    keypoints[0, 0] = torch.tensor([20.0, 44.0, 1.0])
    keypoints[0, 1] = torch.tensor([20.0, 44.0, 0.5])
    keypoints[0, 2] = torch.tensor([float("nan"), 44.0, 1.0])
    for resolution in (64, 32, 8):
        maps = heat_maps(keypoints, resolution, side=64)
        assert maps.shape == (1, 7, resolution, resolution)
        total = maps[0, 0].sum()
        centres = torch.arange(resolution) + 0.5
        assert (maps[0, 0].sum(0) @ centres / total).item() == pytest.approx(20 * resolution / 64, abs=0.1)
        assert (maps[0, 0].sum(1) @ centres / total).item() == pytest.approx(44 * resolution / 64, abs=0.1)
        assert torch.allclose(maps[0, 1], maps[0, 0] / 2)
        assert not maps[0, 2:].any()


def test_the_soft_edge_lies_inside():
    """Visible pixels stay; from the edge inwards the drawn ones take over, all of it at the edge's depth."""
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 8:24, 8:] = 1  # reaches the right border
    drawn = torch.full((1, 3, 32, 32), -0.5)
    share = (0.5 - composite(torch.full_like(drawn, 0.5), drawn, mask, 4)[:, :1]) / (0.5 - -0.5)
    assert not share[mask == 0].any()
    assert torch.allclose(share[0, 0, 12:20, 12:], torch.ones(())), "the border of the picture is no edge"
    down = share[0, 0, 8:13, 16]
    assert (down.diff() > 0).all()
    assert 0 <= down[0] < 0.5
    assert down[4] == 1


def test_the_edge_passes_into_the_visible_pixels():
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 8:24, 8:24] = 1
    out = composite(torch.full((1, 3, 32, 32), 0.5), torch.full((1, 3, 32, 32), -0.5), mask, 4)
    assert out[0, 0, 16, 16] == -0.5
    assert out[0, 0, 8, 16] > 0.2
    everything = composite(torch.full((1, 3, 8, 8), 0.5), torch.full((1, 3, 8, 8), -0.5), torch.ones(1, 1, 8, 8), 2)
    assert (everything == -0.5).all()


def test_resampling_keeps_means_and_mirrors():
    level = Generator(architecture("tiny", 64)).widen[0][0]
    x = torch.randn(1, 32, 16, 16)
    assert torch.allclose(level(x).flip(-1), level(x.flip(-1)), atol=1e-6)
    assert torch.allclose(level(torch.ones_like(x))[..., 1:-1, 1:-1], torch.ones(()))
    assert double(x).mean().item() == pytest.approx(x.mean().item(), abs=0.02)


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 4, 5, 2), (1, 2, 1, 1)])
def test_the_blend_is_what_bilinear_is(shape):
    x = torch.randn(shape, dtype=torch.float64).contiguous(memory_format=torch.channels_last).requires_grad_()
    mine, stock = blended(x), double(x)
    torch.testing.assert_close(mine, stock, rtol=0, atol=1e-14)
    assert mine.is_contiguous(memory_format=torch.channels_last)
    back = torch.randn_like(stock)
    slopes = (torch.autograd.grad(value, x, back)[0] for value in (mine, stock))
    torch.testing.assert_close(*slopes, rtol=0, atol=1e-14)
    single = x.detach().float()
    torch.testing.assert_close(blended(single), double(single), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("network", [Generator, Discriminator])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_all_of_it_is_channels_last(network, layout):
    arch = architecture("tiny", 64)
    network = network(arch).to(memory_format=torch.channels_last)
    picture, mask, keypoints, z = inputs(arch)
    bad = []

    def look(module, given, made):
        if not all(value.is_contiguous(memory_format=torch.channels_last) for value in (*given, made)):
            bad.append(module)

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(look)
    given = (picture.contiguous(memory_format=layout), mask, keypoints, z)
    with torch.no_grad():
        network(*given[: 4 if isinstance(network, Generator) else 3])
    assert not bad


def test_logits_are_float32_under_autocast():
    arch = architecture("tiny", 64)
    torch.manual_seed(0)
    network, seen = Discriminator(arch), []
    network.gather.register_forward_hook(lambda _m, _a, made: seen.append(made))
    picture, mask, keypoints, _ = inputs(arch, 8)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits = network(picture, mask, keypoints)
    assert seen[0].dtype == torch.bfloat16, "all before is under autocast"
    with torch.no_grad():
        exact = network.head(seen[0].flatten(1).float()).squeeze(1)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, exact, rtol=1e-6, atol=1e-6)
    assert not torch.equal(logits, logits.bfloat16().float())


def test_an_architecture_survives_json():
    arch = architecture("small", 128)
    assert Architecture.from_dict(json.loads(json.dumps(arch.to_dict()))) == arch
    with pytest.raises(ModelError, match="another kind"):
        Architecture.from_dict({"size": "tiny"})


@pytest.mark.parametrize(("size", "resolution"), [("huge", 64), ("tiny", 100)])
def test_unknown_ones_are_refused(size, resolution):
    with pytest.raises(UsageError, match="Unknown"):
        architecture(size, resolution)
