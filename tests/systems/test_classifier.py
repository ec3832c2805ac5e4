import pytest
import torch

from edu_diffusion.data import Batches, LabelledImages, fashion
from edu_diffusion.metrics import extract
from edu_diffusion.systems.classifier import Classifier, ClassifierRecipe, accuracy, standardise
from edu_diffusion.training import adamw, train
from edu_diffusion.types import Batch, Rng


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Classifier()


def test_it_is_small_and_has_128_features(net):
    x = fashion("test").x[:4]
    assert sum(p.numel() for p in net.parameters()) < 1_000_000
    assert net.features(x).shape == (4, 128) and net(x).shape == (4, 10)


def test_logits_come_from_the_features(net):
    x = fashion("test").x[:4]
    assert net(x).equal(net.to_logits(net.features(x)))


def test_a_picture_s_features_depend_on_nothing_else(net):
    x = fashion("test").x[:8]
    together, alone = net.features(x), torch.cat([net.features(one[None]) for one in x])
    assert torch.allclose(together, alone, atol=1e-5)
    assert net.eval().features(x).equal(net.train().features(x))


def test_features_go_into_the_metrics(net):
    assert extract(net.features, fashion("test").x[:20], batch=8).shape == (20, 128)


def test_other_shapes_are_refused(net):
    with pytest.raises(ValueError, match=r"\(n, 1, 28, 28\), got \(2, 1, 32, 32\)"):
        net.features.__wrapped__(net, torch.zeros(2, 1, 32, 32))  # without the shape check of the tests


def test_a_short_training_learns(net):
    recipe, test = ClassifierRecipe(net), fashion("test")
    batches = Batches(fashion(), 64, seed=0, flip=True)
    *_, last = train(recipe, batches, {"net": adamw(net.parameters(), 2e-3, warmup=10)}, steps=40)
    assert last.metrics["accuracy"] > 0.5
    assert accuracy(net, LabelledImages(test.levels[:500], test.y[:500])) > 0.6


def test_a_batch_without_labels_is_refused(net):
    with pytest.raises(ValueError, match="labels"):
        next(ClassifierRecipe(net).losses(Batch(torch.zeros(2, 1, 28, 28)), Rng(0)))


def test_accuracy_counts_right_answers_over_all_batches():
    data = fashion("test")
    some = LabelledImages(data.levels[:25], data.y[:25])
    share = (some.y == 9).double().mean().item()
    always_boots = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
    torch.nn.init.zeros_(always_boots[1].weight)
    always_boots[1].bias.data = torch.eye(10)[9]
    assert accuracy(always_boots, some, batch=10) == pytest.approx(share) and share > 0


def test_standardise_sets_the_unit_and_changes_no_prediction(net):
    x = fashion("test").x[:100]
    net.requires_grad_(False)
    features, logits = net.features(x), net(x)
    standardise(net, x)
    assert net.features(x).var(dim=0).mean().item() == pytest.approx(1, rel=1e-4)
    assert torch.allclose(net(x), logits, atol=1e-4)
    standardise(net, x)  # once more changes nothing
    assert torch.allclose(net.features(x) * (features.sum() / net.features(x).sum()), features, atol=1e-4)
