"""What is measured of a prior: on draws whose answers are known, with real embeddings as the best there is."""

import math

import pytest
import torch
from torch.nn import functional as F

from edu_diffusion.data.captions import Wanted, meaning
from edu_diffusion.data.scenes import Scene, Thing
from edu_diffusion.systems.ar_prior import ArNet, ArPrior, PrincipalCodes
from edu_diffusion.systems.clip import ClipRecipe, freeze
from edu_diffusion.systems.prior import DiffusionPrior, PriorNet, embedded
from edu_diffusion.zoo import measure_prior as measure
from edu_diffusion.zoo.measure_prior import Vague

SIZE, CAPTIONS, VARIANTS = 16, 3, 5


def seeded(seed=0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def unit(*shape, seed=0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=seeded(seed)), dim=-1)


@pytest.fixture
def given() -> Vague:
    """Three captions of five variants each, two pictures of each variant."""
    real = F.normalize(unit(CAPTIONS, VARIANTS, 1, SIZE) + 0.05 * unit(CAPTIONS, VARIANTS, 2, SIZE, seed=1), dim=-1)
    return Vague(["a", "b", "c"], torch.arange(CAPTIONS)[:, None], real)


def perfect(given: Vague, draws: int, seed=0) -> torch.Tensor:
    """Draws as the world makes them: every real embedding equally often."""
    real = given.real.flatten(1, 2)
    chosen = torch.randint(real.shape[1], (len(real), draws), generator=seeded(seed))
    return real[torch.arange(len(real))[:, None], chosen]


class TestPairs:
    def test_by_hand(self):
        z = F.normalize(torch.tensor([[[1.0, 0], [0, 1.0], [1.0, 1.0]], [[1.0, 0], [1.0, 0], [1.0, 0]]]), dim=2)
        assert measure.pair_cosine(z[:1]) == pytest.approx((0 + 2 * math.sqrt(0.5)) / 3)
        assert measure.pair_cosine(z[1:]) == pytest.approx(1)

    def test_it_is_the_mean_over_all_pairs(self):
        z = unit(4, 7, SIZE)
        cosines = torch.einsum("cnd,cmd->cnm", z, z)
        pairs = ~torch.eye(7, dtype=torch.bool)
        assert measure.pair_cosine(z) == pytest.approx(cosines[:, pairs].mean().item(), abs=1e-5)


class TestVariants:
    def test_distinct_counts_each_once(self):
        assert measure.distinct(torch.tensor([[0, 0, 1], [2, 2, 2]]), 5) == 1.5

    def test_expected_is_what_even_draws_give(self):
        drawn = torch.randint(30, (4000, 30), generator=seeded())
        assert measure.expected_distinct(30, 30) == pytest.approx(measure.distinct(drawn, 30), rel=0.01)

    def test_nearest_real_finds_caption_and_variant(self, given):
        z = given.real[:, :, 0]
        right, variant = measure.nearest_real(z, given)
        assert right.all() and variant.equal(torch.arange(VARIANTS).expand(CAPTIONS, -1))
        right, _ = measure.nearest_real(z.roll(1, 0), given)
        assert not right.any()


class TestTheSpread:
    def test_a_perfect_prior_scores_its_floors(self, given):
        found = measure.spread(perfect(given, 400), given)
        for name in ("vague_cosine", "pair_cosine"):
            assert found[name].value == pytest.approx(found[name].floor, abs=0.12)
        assert found["variants"].value == VARIANTS and found["right"].value == 1

    def test_the_mean_scores_a_higher_cosine_and_draws_nothing(self, given):
        """What the cosine hides: a collapsed prior beats the perfect one at it."""
        mean = F.normalize(given.real.flatten(1, 2).mean(1, keepdim=True), dim=2).expand(-1, 30, -1)
        collapsed, honest = (measure.spread(z, given) for z in (mean, perfect(given, 30)))
        length = given.real.flatten(1, 2).mean(1).norm(dim=1)
        assert collapsed["vague_cosine"].value == pytest.approx(length.mean().item(), abs=1e-4)
        assert collapsed["vague_cosine"].value > honest["vague_cosine"].value + 0.1
        assert collapsed["pair_cosine"].value == pytest.approx(1, abs=1e-4) and collapsed["variants"].value == 1
        assert honest["pair_cosine"].value < 0.5 and honest["variants"].value > 4


class TestTheWorld:
    def test_another_fits_the_caption_and_draws_what_is_open(self):
        wanted = Wanted((Thing("star", "red"),), ground="black")
        scenes = [measure.another(wanted, seeded(i)) for i in range(60)]
        assert all(each.things[0].shape == "star" and each.ground == "black" for each in scenes)
        assert {each.place for each in scenes} == set(measure.PLACES)
        assert {each.things[0].size for each in scenes} == set(measure.SIZES)
        two = Wanted((Thing("star", "red", "small"), Thing("ring", "blue")), relation="above")
        scene = measure.another(two, seeded())
        assert scene.relation == "above" and scene.things[0] == Thing("star", "red", "small")

    def test_variants_are_all_that_fits_a_bare_caption(self):
        scenes = measure.variants_of(Thing("star", "red"))
        assert len(set(scenes)) == 30 and all(isinstance(each, Scene) for each in scenes)


@pytest.fixture(scope="module")
def clip() -> ClipRecipe:
    torch.manual_seed(0)
    return freeze(ClipRecipe())


class TestAWholeMeasurement:
    def test_vague_captions_are_understood_and_none_is_held_out(self, clip, monkeypatch):
        monkeypatch.setattr(clip, "image_emb", lambda x: torch.zeros(len(x), 64))
        given = measure.vague(clip)
        assert len(given.captions) == 56 and given.real.shape == (56, 30, 2, 64)
        for text in given.captions:
            found = meaning(text)
            assert found.ground is found.place is found.things[0].size is None
        assert "an orange circle" in given.captions and "a red cross" not in given.captions

    @pytest.mark.parametrize("kind", ["diffusion", "autoregressive"])
    def test_everything_there_is(self, clip, kind, monkeypatch):
        monkeypatch.setattr(measure, "DRAWS", 3)
        numbers = torch.Generator().manual_seed(0)
        z = F.normalize(torch.randn(300, 64, generator=numbers), dim=1)
        tokens = clip.tokenizer(["a red star", "a blue ring"]).repeat(150, 1)
        if kind == "diffusion":
            prior = DiffusionPrior(clip=clip, net=PriorNet(width=32, depth=1))
            prior.fit(z)
        else:
            prior = ArPrior(clip=clip, net=ArNet(PrincipalCodes(64, 6, 8), width=32, depth=1))
            prior.fit(z, tokens)
        found = measure.measure_prior(prior, samples=6, captions=2)
        wanted = {"cosine", "text_cosine", "new_cosine", "seconds", "vague_cosine", "pair_cosine", "variants", "right"}
        assert set(found) == wanted | ({"codes_cosine"} if kind == "autoregressive" else set())
        assert all(math.isfinite(each.value) for each in found.values())
        assert found["cosine"].floor is not None and found["cosine"].samples == 6

    def test_of_the_true_embeddings_the_cosine_is_1(self, clip, monkeypatch):
        scenes = measure.Scenes(clip.tokenizer, split="test", size=32, count=5)
        data = embedded(clip, scenes)
        knows = DiffusionPrior(clip=clip, net=PriorNet(width=32, depth=1))
        monkeypatch.setattr(knows, "embeddings", lambda tokens, generator: data.x)
        found = measure.nearness(knows, data)
        text = (clip.text_emb(data.y) * data.x).sum(1).mean().item()
        assert found["cosine"].value == pytest.approx(1, abs=1e-5)
        assert found["text_cosine"].value == pytest.approx(text, abs=1e-5)
