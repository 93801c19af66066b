"""What the sentinel calls a collapse, and what it does not."""

import pytest
import torch

from gcc.recipe import Recipe
from gcc.training.collapse import CollapseDetector, Diversity

SOUND = Diversity(between=0.8, within=0.4)


def sentinel_of(mode, epochs, discriminators=1, **settings):
    return CollapseDetector(Recipe(size=32, gan_mode=mode, epochs=epochs, **settings), discriminators)


def epochs(detector, losses, diversity=SOUND):
    """Play epochs of ten steps with these (L_G, L_D), each a number or one per step, and return what was told after each."""
    told = []
    for loss_g, loss_d in losses:
        for step in range(10):
            g = loss_g[step % len(loss_g)] if isinstance(loss_g, list) else loss_g
            detector.add("student", torch.tensor(float(g)), torch.tensor(0.25 * loss_d), torch.tensor(0.75 * loss_d))
        told.append(detector.after_epoch({"student": diversity}).get("student", ""))
    return told


@pytest.mark.parametrize(("mode", "undecided"), [("hinge", 2.0), ("lsgan", 0.5), ("vanilla", 2 * 0.6931472)])
def test_an_undecided_discriminator_costs_what_a_constant_can_at_best(mode, undecided):
    assert sentinel_of(mode, 10).undecided == pytest.approx(undecided, rel=1e-3)


def test_figure_1_is_told_after_two_epochs_with_the_numbers():
    first, second, third, fourth = epochs(sentinel_of("hinge", 10), [(1.0, 1.2), (1.1, 0.6), (2.0, 0.05), (3.0, 0.01)])
    assert first == second == third == ""
    assert "L_D is 0.01, where an undecided discriminator has 2, and L_G has grown (3)" in fourth


def test_an_oscillating_generator_is_told():
    *_, last = epochs(sentinel_of("hinge", 10), [(1.0, 1.0), ([-2, 3], 0.02), ([-2, 3], 0.02)])
    assert "L_G oscillates" in last


@pytest.mark.parametrize(
    "losses",
    [
        [(1.4, 1.0), (1.2, 0.5), (1.1, 0.08), (1.1, 0.05), (1.1, 0.03)],  # a discriminator that wins while L_G rests
        [(1.0, 1.2), (3.0, 0.6), (5.0, 0.6), (7.0, 0.6)],  # L_G that grows before a discriminator that still learns
        [(1.0, 1.2), (3.0, 0.01), (1.0, 1.2), (3.0, 0.01), (1.0, 1.2)],  # single epochs
    ],
)
def test_sound_games_are_left_alone(losses):
    assert not any(epochs(sentinel_of("hinge", 10), losses))


def test_the_wasserstein_loss_is_watched_by_its_images_alone():
    detector = sentinel_of("wgangp", 10)
    assert not any(epochs(detector, [(50.0, -100.0)] * 4))
    *_, last = epochs(detector, [(50.0, -100.0)] * 3, Diversity(0.01, 0.4))
    assert "all alike: they differ by 1.0% of the difference between real images" in last


def test_young_generators_may_make_images_that_are_alike_until_half_of_the_run():
    told = epochs(sentinel_of("hinge", 12), [(1.0, 1.0)] * 12, Diversity(0.02, 0.4))
    assert [bool(text) for text in told] == [False] * 7 + [True] * 5


def test_images_that_come_to_differ_are_left_alone_and_those_that_cease_to_are_told_at_once():
    detector = sentinel_of("hinge", 100)
    for between in (0.01, 0.02, 0.04, 0.08, 0.3):
        assert epochs(detector, [(1.0, 1.0)], Diversity(between, 0.4)) == [""]
    told = epochs(detector, [(1.0, 1.0)] * 12, Diversity(0.05, 0.4))
    assert [bool(text) for text in told] == [False] * 9 + [True] * 3


def test_one_colour_is_told_as_such():
    *_, last = epochs(sentinel_of("hinge", 10), [(1.0, 1.0)] * 7, Diversity(0.5, 0.001))
    assert "one colour (standard deviation 0.001)" in last


def test_signs_of_a_single_epoch_disturb_the_calm_and_a_rollback_restores_it():
    detector = sentinel_of("hinge", 10)
    epochs(detector, [(1.0, 1.2)])
    assert detector.is_calm
    epochs(detector, [(3.0, 0.01)])
    assert not detector.is_calm
    detector.reset_counters()
    assert detector.is_calm
    *_, told = epochs(detector, [(3.0, 0.01)] * 2)
    assert "L_G has grown" in told, "it is measured by the sound epoch still"


def test_variety_against_loops():
    torch.manual_seed(0)
    made, real = torch.randn(4, 3, 5, 6), torch.randn(3, 3, 5, 6)

    def apart(images):
        pairs = [(images[i], images[i - 1]) for i in range(len(images))]
        return sum((abs(a - b)).mean().item() for a, b in pairs) / len(pairs)

    diversity = Diversity.of(made, real)
    assert diversity.between == pytest.approx(apart(made) / apart(real), rel=1e-5)
    assert diversity.within == pytest.approx(sum(image.flatten().std().item() for image in made) / 4, rel=1e-5)
    same = Diversity.of(made[:1].expand(4, -1, -1, -1), real)
    assert same.between == 0 and Diversity.of(torch.full((4, 3, 5, 6), 0.3), real).within == 0
    assert Diversity.of(made[:1], real).between == 1


def test_losses_are_taken_as_one_discriminator_has_them_whatever_their_weight_and_number(monkeypatch):
    monkeypatch.setattr("gcc.training.collapse.CHUNK", 4)
    plain, weighed = sentinel_of("hinge", 10), sentinel_of("hinge", 10, 2, lambda_gan=1e-3)
    game = [(1.0, 1.2), (3.0, 0.05), (3.0, 0.01)]
    assert epochs(plain, game) == epochs(weighed, [(2e-3 * g, 2 * d) for g, d in game]) and plain._histories["student"].starved == 2
    assert not any(epochs(sentinel_of("hinge", 10, lambda_gan=0.0), game))
