"""What the detector reports as a collapse, and what it does not."""

import pytest
import torch

from gcc.recipe import Recipe
from gcc.training.collapse import CollapseDetector, Diversity

HEALTHY = Diversity(between=0.8, within=0.4)


def detector_of(mode, epochs, discriminators=1, **settings):
    return CollapseDetector(Recipe(size=32, gan_mode=mode, epochs=epochs, **settings), discriminators)


def epochs(detector, losses, diversity=HEALTHY):
    """Feed epochs of ten steps with these (L_G, L_D), each a number or one per step, and return the warning after each epoch."""
    warnings = []
    for loss_g, loss_d in losses:
        for step in range(10):
            g = loss_g[step % len(loss_g)] if isinstance(loss_g, list) else loss_g
            detector.add("student", torch.tensor(float(g)), torch.tensor(0.25 * loss_d), torch.tensor(0.75 * loss_d))
        warnings.append(detector.after_epoch({"student": diversity}).get("student", ""))
    return warnings


@pytest.mark.parametrize(("mode", "undecided"), [("hinge", 2.0), ("lsgan", 0.5), ("vanilla", 2 * 0.6931472)])
def test_an_undecided_discriminator_costs_what_a_constant_can_at_best(mode, undecided):
    assert detector_of(mode, 10).undecided == pytest.approx(undecided, rel=1e-3)


def test_figure_1_is_reported_after_two_epochs_with_the_numbers():
    first, second, third, fourth = epochs(detector_of("hinge", 10), [(1.0, 1.2), (1.1, 0.6), (2.0, 0.05), (3.0, 0.01)])
    assert first == second == third == ""
    assert "the discriminator loss fell to 0.01 (chance level 2) while the generator loss grew to 3" in fourth


def test_an_oscillating_generator_is_reported():
    *_, last = epochs(detector_of("hinge", 10), [(1.0, 1.0), ([-2, 3], 0.02), ([-2, 3], 0.02)])
    assert "the generator loss oscillated around" in last


@pytest.mark.parametrize(
    "losses",
    [
        [(1.4, 1.0), (1.2, 0.5), (1.1, 0.08), (1.1, 0.05), (1.1, 0.03)],  # a discriminator that wins while L_G stays
        [(1.0, 1.2), (3.0, 0.6), (5.0, 0.6), (7.0, 0.6)],  # L_G grows while the discriminator still learns
        [(1.0, 1.2), (3.0, 0.01), (1.0, 1.2), (3.0, 0.01), (1.0, 1.2)],  # single epochs
    ],
)
def test_healthy_training_is_not_reported(losses):
    assert not any(epochs(detector_of("hinge", 10), losses))


def test_with_the_wasserstein_loss_only_the_images_count():
    detector = detector_of("wgangp", 10)
    assert not any(epochs(detector, [(50.0, -100.0)] * 4))
    *_, last = epochs(detector, [(50.0, -100.0)] * 3, Diversity(0.01, 0.4))
    assert "all alike: they differ by 1.0% of the difference between real images" in last


def test_generators_may_return_similar_images_until_half_of_the_run():
    warnings = epochs(detector_of("hinge", 12), [(1.0, 1.0)] * 12, Diversity(0.02, 0.4))
    assert [bool(text) for text in warnings] == [False] * 7 + [True] * 5


def test_growing_diversity_is_not_reported_and_lost_diversity_is():
    detector = detector_of("hinge", 100)
    for between in (0.01, 0.02, 0.04, 0.08, 0.3):
        assert epochs(detector, [(1.0, 1.0)], Diversity(between, 0.4)) == [""]
    warnings = epochs(detector, [(1.0, 1.0)] * 12, Diversity(0.05, 0.4))
    assert [bool(text) for text in warnings] == [False] * 9 + [True] * 3


def test_images_of_one_colour_are_reported_as_such():
    *_, last = epochs(detector_of("hinge", 10), [(1.0, 1.0)] * 7, Diversity(0.5, 0.001))
    assert "one colour (standard deviation 0.001)" in last


def test_signs_in_a_single_epoch_end_the_calm_and_resetting_the_counters_restores_it():
    detector = detector_of("hinge", 10)
    epochs(detector, [(1.0, 1.2)])
    assert detector.is_calm
    epochs(detector, [(3.0, 0.01)])
    assert not detector.is_calm
    detector.reset_counters()
    assert detector.is_calm
    *_, warning = epochs(detector, [(3.0, 0.01)] * 2)
    assert "the generator loss grew to" in warning, "the healthy epoch is still the reference"


def test_diversity_against_loops():
    torch.manual_seed(0)
    fake, real = torch.randn(4, 3, 5, 6), torch.randn(3, 3, 5, 6)

    def mean_distance(images):
        pairs = [(images[i], images[i - 1]) for i in range(len(images))]
        return sum((abs(a - b)).mean().item() for a, b in pairs) / len(pairs)

    diversity = Diversity.of(fake, real)
    assert diversity.between == pytest.approx(mean_distance(fake) / mean_distance(real), rel=1e-5)
    assert diversity.within == pytest.approx(sum(image.flatten().std().item() for image in fake) / 4, rel=1e-5)
    same = Diversity.of(fake[:1].expand(4, -1, -1, -1), real)
    assert same.between == 0 and Diversity.of(torch.full((4, 3, 5, 6), 0.3), real).within == 0
    assert Diversity.of(fake[:1], real).between == 1


def test_losses_count_per_discriminator_whatever_their_weight_and_number(monkeypatch):
    monkeypatch.setattr("gcc.training.collapse.STEPS_PER_TENSOR", 4)
    unweighted, weighted = detector_of("hinge", 10), detector_of("hinge", 10, 2, lambda_gan=1e-3)
    losses = [(1.0, 1.2), (3.0, 0.05), (3.0, 0.01)]
    assert epochs(unweighted, losses) == epochs(weighted, [(2e-3 * g, 2 * d) for g, d in losses])
    assert unweighted.state_dict()["student"]["starved"] == 2
    assert not any(epochs(detector_of("hinge", 10, lambda_gan=0.0), losses))
