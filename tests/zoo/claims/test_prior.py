"""The claim about the two priors: its verdict on numbers that are given, and what it measures, on tiny ones."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from edu_diffusion.systems.ar_prior import ArNet, ArPrior, PrincipalCodes
from edu_diffusion.systems.clip import ClipRecipe, freeze
from edu_diffusion.systems.prior import DiffusionPrior, PriorNet
from edu_diffusion.zoo.claims import prior as claim
from edu_diffusion.zoo.claims.core import DOES_NOT, HOLDS, IN_PART, Arms
from edu_diffusion.zoo.claims.prior import AUTOREGRESSIVE, CODES, DECODER, DIFFUSION, MEAN, ONE, TWO

FLOORS = {"cosine_floor": 0.95, "vague_cosine_floor": 0.92, "pair_cosine_floor": 0.92, "variants_floor": 19.2}
SAME = {"text_cosine": 0.5, "right": 1.0, "variants": 18.0, "vague_cosine": 0.93}


@pytest.fixture
def given(monkeypatch):
    """The claim reads its numbers from here."""
    kinds = {
        ONE: {"cosine": 0.94, "pair_cosine": 0.93},
        TWO: {"cosine": 0.95, "pair_cosine": 0.93},
        MEAN: {"cosine": 0.97, "pair_cosine": 1.0},
        CODES: {"cosine": 0.90, "pair_cosine": 0.90},
    }
    cost = {DIFFUSION: {"train": 1e15, "draw": 1e7}, AUTOREGRESSIVE: {"train": 2e15, "draw": 1e7}}
    wrong = {way: 0.2 for way in kinds} | {CODES: 0.3}
    names = {way.replace(", ", "-").replace(" ", "-"): way for way in kinds}

    def of_zoo(arms, entry, what, measure):
        if what == "cost":
            return cost[entry]
        if what.endswith("-pictures"):
            return {"wrong": wrong[names[what.removesuffix("-pictures")]], "decoder": "now"}
        return kinds[names[what.rsplit("-seed", 1)[0]]] | SAME | FLOORS

    monkeypatch.setattr(claim, "of_zoo", of_zoo)
    monkeypatch.setattr(claim, "card", lambda name: SimpleNamespace(weight_sha256="now", images=10))
    return SimpleNamespace(kinds=kinds, cost=cost, wrong=wrong)


@pytest.fixture(params=[False, True], ids=["no decoder", "decoder"])
def decoder(request, monkeypatch, tmp_path) -> bool:
    path = tmp_path / "card.json"
    if request.param:
        path.touch()
    monkeypatch.setattr(claim, "card_path", lambda name, folder: path)
    return request.param


class TestTheVerdict:
    def test_better_in_all(self, given, decoder):
        found = claim.measure_kinds(Arms())
        assert found.verdict == HOLDS
        assert ("come out wrong" in found.why) == decoder
        assert len(found.numbers) == 4 * 5 + 2 * 2 + 4 * decoder
        assert found.numbers[f"{TWO}: cosine with the true embedding"].floor == 0.95

    def test_worse_in_one(self, given, decoder):
        given.cost[DIFFUSION]["train"] = 5e15
        assert claim.measure_kinds(Arms()).verdict == IN_PART

    def test_worse_in_all(self, given, decoder):
        given.cost[DIFFUSION]["train"] = 5e15
        given.kinds[TWO] |= {"cosine": 0.85, "pair_cosine": 0.99}
        given.wrong[TWO] = 0.5
        assert claim.measure_kinds(Arms()).verdict == DOES_NOT

    def test_another_decoder_is_refused(self, given, monkeypatch, tmp_path):
        (tmp_path / "card.json").touch()
        monkeypatch.setattr(claim, "card_path", lambda name, folder: tmp_path / "card.json")
        monkeypatch.setattr(claim, "card", lambda name: SimpleNamespace(weight_sha256="another", images=10))
        with pytest.raises(ValueError, match=f"measured with another {DECODER}"):
            claim.measure_kinds(Arms())


@pytest.fixture(scope="module")
def clip() -> ClipRecipe:
    torch.manual_seed(0)
    return freeze(ClipRecipe())


@pytest.fixture(scope="module", params=["diffusion", "autoregressive"])
def prior(clip, request) -> DiffusionPrior | ArPrior:
    z = F.normalize(torch.randn(200, 64, generator=torch.Generator().manual_seed(0)), dim=1)
    if request.param == "diffusion":
        made = DiffusionPrior(clip=clip, net=PriorNet(width=32, depth=1))
        made.fit(z)
    else:
        made = ArPrior(clip=clip, net=ArNet(PrincipalCodes(64, 6, 8), width=32, depth=1))
        made.fit(z, clip.tokenizer(["a red star", "a blue ring"]).repeat(100, 1))
    made.net.requires_grad_(False)  # as the zoo hands it over
    return made


class TestWhatIsMeasured:
    def test_numbers_with_their_floors(self, prior):
        options = {"best_of": 1, "steps": 1} if isinstance(prior, DiffusionPrior) else {}
        found = claim.numbers_for(prior, 0, options, samples=4, captions=1)
        assert set(found) == set(claim.KEPT) | set(FLOORS) | {"text_cosine_floor"}

    def test_training_costs_more_than_one_look_and_a_draw_many(self, prior):
        options = {"steps": 8} if isinstance(prior, DiffusionPrior) else {}
        train, draw = claim.training(prior, batch=2), claim.drawing(prior, batch=2, **options)
        assert train > 0 and draw > 0
        if options:
            assert draw > train  # eight steps of two draws

    def test_wrong_captions_are_what_the_reader_says(self, prior, monkeypatch):
        told = []

        class Draws:
            def told(self, z):
                told.append(z)
                return z

            def pictures(self, z, generator):
                return torch.zeros(len(z), 3, 16, 16)

        monkeypatch.setattr(claim, "load", lambda name: Draws())
        options = {"best_of": 1, "steps": 2} if isinstance(prior, DiffusionPrior) else {}
        assert claim.wrong(prior, options, samples=3) == 1
        assert told[0].shape == (3, 64)
