"""Compared methods find a backdoor that was built by hand, name its target, and stay silent without it."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import onepixel
from onepixel.classifiers import Classifier
from onepixel.errors import UndecidedError, UsageError
from onepixel.methods import METHODS, method
from onepixel.methods.artificial_brain_stimulation import ArtificialBrainStimulation
from onepixel.methods.base import Network, anomaly_index
from onepixel.methods.black_box_inversion import BlackBoxInversion
from onepixel.methods.maximum_margin import MaximumMargin, order_statistic_p_value
from onepixel.methods.meta_classifier import MetaNeuralAnalysis, UniversalLitmusPatterns
from onepixel.methods.neural_cleanse import NeuralCleanse
from onepixel.methods.weight_scan import WeightScan

CLASSES, SIZE, TARGET = 6, 12, 3


class Stripes(nn.Module):
    """Class k is the brightest pair of rows; with a backdoor, a pattern in the last corner pixels means `TARGET`."""

    def __init__(self, backdoor: bool, seed: int = 0) -> None:
        super().__init__()
        self.hidden, self.soft = nn.Linear(SIZE * SIZE, CLASSES + 1), nn.Softplus()
        self.out = nn.Linear(CLASSES + 1, CLASSES)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            rows = torch.zeros(CLASSES + 1, SIZE, SIZE)
            for k in range(CLASSES):
                rows[k, 2 * k : 2 * k + 2] = 1 / 24
            rows[-1, -2:, -2:] = torch.tensor([[4.0, -4.0], [-4.0, 4.0]])
            noise = 0.002 * torch.randn(rows.shape, generator=generator)
            self.hidden.weight.copy_((rows + noise).flatten(1))
            self.hidden.bias.zero_()
            self.hidden.bias[-1] = -1.0
            self.out.weight.zero_()
            self.out.bias.zero_()
            self.out.weight[:, :CLASSES] = 24 * torch.eye(CLASSES)
            if backdoor:
                self.out.weight[TARGET, -1] = 20.0

    def forward(self, images: Tensor) -> Tensor:
        answer: Tensor = self.out(self.soft(self.hidden(images.flatten(1))))
        return answer


def network(backdoor: bool, seed: int = 0) -> Classifier:
    return onepixel.as_classifier(Stripes(backdoor, seed), input_shape=(1, SIZE, SIZE))


def pictures(per_class: int = 8) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES), per_class)
    images = random.uniform(0.2, 0.4, size=(len(labels), 1, SIZE, SIZE)).astype(np.float32)
    for image, label in zip(images, labels, strict=True):
        image[0, 2 * label : 2 * label + 2] += 0.5
    return images, labels


INVERTING = [
    NeuralCleanse(rounds=40, batch_size=16),
    ArtificialBrainStimulation(candidates=7),
    BlackBoxInversion(steps=100, samples=16),
    MaximumMargin(starts=10, steps=60),
]


@pytest.mark.parametrize("way", INVERTING, ids=lambda way: way.name)
def test_method_scores_the_backdoored_network_higher_and_names_its_target(way):
    images, labels = pictures()
    torch.set_num_threads(1)
    clean, trojaned = (way.score(network(backdoor), images, labels) for backdoor in (False, True))
    assert trojaned.value > clean.value
    assert trojaned.target_class == TARGET
    assert len(trojaned.class_scores) == CLASSES
    assert trojaned.flagged


@pytest.mark.parametrize("way", [MetaNeuralAnalysis(steps=640), UniversalLitmusPatterns(steps=640)])
def test_meta_classifiers_tell_networks_apart_that_they_were_not_trained_on(way):
    shadows = [network(bool(index % 2), seed=index) for index in range(16)]
    way.fit(shadows, [index % 2 for index in range(16)])
    images, labels = pictures()
    scores = [way.score(network(bool(index % 2), seed=100 + index), images, labels) for index in range(8)]
    assert min(score.value for score in scores[1::2]) > max(score.value for score in scores[::2])
    assert scores[0].queries == way.queries


def test_meta_classifier_refuses_what_it_was_not_trained_for():
    images, labels = pictures()
    with pytest.raises(UsageError, match="trained on shadow networks first"):
        MetaNeuralAnalysis().score(network(True), images, labels)
    with pytest.raises(UsageError, match="both sorts"):
        MetaNeuralAnalysis().fit([network(True)], [1])
    fitted = MetaNeuralAnalysis(steps=2).fit([network(True), network(False)], [1, 0])
    other = onepixel.as_classifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), input_shape=(1, 8, 8))
    with pytest.raises(UsageError, match="another input shape"):
        fitted.score(other, images, labels)


@pytest.mark.parametrize("name", [way.name for way in METHODS.rows() if way.needs.weights])
def test_methods_that_need_weights_say_so_of_an_endpoint(name, monkeypatch):
    monkeypatch.setenv("ONEPIXEL_MODELAUDIT", sys.executable)
    black_box = onepixel.as_classifier(lambda images: np.full((len(images), 2), 0.5), input_shape=(1, 4, 4))
    with pytest.raises(UndecidedError, match="needs the weights"):
        method(name).score(black_box, np.zeros((4, 1, 4, 4), np.float32), np.array([0, 0, 1, 1]))


def test_scoring_leaves_the_network_as_it_was():
    module = Stripes(True).train()
    classifier = onepixel.as_classifier(module, input_shape=(1, SIZE, SIZE))
    NeuralCleanse(rounds=1).score(classifier, *pictures())
    assert module.training
    assert all(weight.requires_grad and weight.grad is None for weight in module.parameters())


def test_filters_lie_in_memory_afterwards_as_they_did_before():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(400, CLASSES))
    numbers = [weight.data for weight in module.parameters()]
    network = Network(onepixel.as_classifier(module, input_shape=(3, SIZE, SIZE)))
    images = torch.rand(2, 3, SIZE, SIZE)
    before = network(images)
    with network.frozen():
        torch.testing.assert_close(network(images), before)
    after = [weight.data_ptr() for weight in module.parameters()]
    assert after == [kept.data_ptr() for kept in numbers]
    assert module[0].weight.is_contiguous()


def test_anomaly_index_is_positive_on_the_small_side_only():
    index = anomaly_index(np.array([100.0, 98, 102, 99, 101, 10]))
    assert index[5] > 2
    assert index[:5].max() < 2


def test_margin_p_value_is_small_for_an_outlier_and_does_not_round_to_nothing():
    rest = np.array([10.0, 11, 12, 9, 10.5, 11.5, 9.5, 10.2, 11.1])
    usual, _ = order_statistic_p_value(np.append(rest, 12.2))
    outlier, log_p = order_statistic_p_value(np.append(rest, 500.0))
    assert usual > 0.05 > outlier
    assert -1e5 < log_p < -5


def test_weight_scan_counts_layers_and_sends_nothing(tmp_path: Path, monkeypatch):
    program = tmp_path / "modelaudit"
    issues = [{"message": "Layer 'a' has 1 output neurons with abnormal weight magnitudes"}, {"message": "other"}]
    program.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        "assert os.environ['PROMPTFOO_DISABLE_TELEMETRY'] == '1' and os.path.getsize(sys.argv[-1])\n"
        f"print({json.dumps(json.dumps({'issues': issues}))})\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("ONEPIXEL_MODELAUDIT", str(program))
    score = WeightScan().score(network(True), *pictures())
    assert (score.value, score.flagged, score.target_class) == (1.0, True, None)


def test_unknown_method_is_refused_with_the_names_there_are():
    with pytest.raises(UsageError, match="neural-cleanse"):
        method("nothing")
