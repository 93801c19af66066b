"""The paper's tables as data: Table I's recipes, Table II's positions, and what each generator costs."""

import pytest
import torch

from gcc.losses.distillation import modules_at, tapped
from gcc.losses.selectors import find_layers
from gcc.models.build import generator_on_meta
from gcc.models.modules import on_meta
from gcc.pruning.budget import Budget
from gcc.pruning.cost import generator_cost
from gcc.recipe import changed
from gcc.registry import ARCHITECTURES

TABLE_I = {
    # family: (const, decay, batch size, gamma_m, gamma_t, GAN loss, ngf teacher, ngf student, ndf, tau)
    "sagan": (100, 0, 64, 1, 100, "hinge", 64, 48, 64, 0.1),
    "cyclegan": (100, 100, 1, 0.01, 1e3, "lsgan", 64, 24, 64, 0.1),
    "pix2pix": (100, 150, 1, 50, 1e4, "hinge", 64, 32, 128, 0.5),
    "srgan": (15, 15, 16, 0.1, 0.1, "vanilla", 64, 24, 64, 0.1),
}
TRAINERS = {
    # family: (lr of G, lr of D, betas, factor of L_D, weight of L_G, pool, metric, lr in the last epoch over the first's)
    "sagan": (1e-4, 4e-4, (0.0, 0.9), 1, 1, 0, "slimming", 1),
    "cyclegan": (2e-4, 2e-4, (0.5, 0.999), 0.5, 1, 50, "l1_paper", 1 / 101),
    "pix2pix": (2e-4, 2e-4, (0.5, 0.999), 0.5, 1, 0, "slimming", 1 / 151),
    "srgan": (1e-4, 1e-4, (0.9, 0.999), 1, 1e-3, 0, "slimming", 0.1),
}
BUDGETS = {"sagan": (15.45e6,), "cyclegan": (2.40e9, 2.70e9), "pix2pix": (3.0e9,), "srgan": (22.79e9,)}
"""MACs of the students, by the authors' counter."""
TABLE_II = {
    # family: (convolutions of G, distilled, shapes of the teacher's features, convolutions of D, distilled)
    "sagan": (5, (2, 4), [(256, 8, 8), (64, 32, 32)], 5, (2, 4)),
    "cyclegan": (24, (3, 9, 15, 21), [(256, 64, 64)] * 4, 5, (2, 4)),
    "pix2pix": (16, (2, 4, 12, 14), [(128, 64, 64), (512, 16, 16), (1024, 16, 16), (256, 64, 64)], 5, (2, 4)),
    "srgan": (37, (9, 17, 25, 33), [(64, 256, 256)] * 4, 4, (2, 4)),
}
COSTS = [
    # family, settings, width, exact, by the authors' counter
    ("pix2pix", {}, 64, 6.048e9, 18.15e9),
    ("pix2pix", {}, 32, 1.550e9, 4.652e9),
    ("cyclegan", {}, 64, 11.07e9, 18.37e9),
    ("cyclegan", {}, 24, 1.885e9, 2.924e9),
    ("cyclegan", {"generator": "resnet"}, 64, 49.55e9, 56.83e9),
    ("sagan", {}, 64, 0.2003e9, 23.45e6),
    ("sagan", {}, 48, 0.1294e9, 15.62e6),
    ("srgan", {}, 64, 145.4e9, 145.88e9),
    ("srgan", {}, 24, 24.50e9, 24.70e9),
]
every_family = pytest.mark.parametrize("arch", TABLE_I)


def published(arch, **settings):
    family = ARCHITECTURES.load(arch)
    return family(changed(family.published(), settings))


@every_family
def test_table_i(arch):
    recipe = published(arch).recipe
    const, decay = recipe.epochs - recipe.decay_epochs, recipe.decay_epochs
    assert TABLE_I[arch] == (
        *(const, decay, recipe.batch_size, recipe.gamma_m, recipe.gamma_t, recipe.gan_mode),
        *(recipe.ngf, recipe.prune_width, recipe.ndf, recipe.tau),
    )


@every_family
def test_the_original_trainers(arch):
    recipe = published(arch).recipe
    last = recipe.learning_rate_factor(recipe.epochs)
    betas = (recipe.beta1, recipe.beta2)
    assert TRAINERS[arch] == (
        *(recipe.lr_g, recipe.lr_d, betas, recipe.lambda_d, recipe.lambda_gan, recipe.pool_size, recipe.metric),
        pytest.approx(last),
    )


@every_family
def test_budgets(arch):
    architecture = published(arch)
    teacher = generator_cost(architecture, architecture.full_widths(64))
    limits = [
        budget.limit(teacher, architecture.recipe.mac_counter)
        for budget in Budget.parse_each(architecture.recipe.budget, architecture.generators).values()
    ]
    assert limits == pytest.approx(BUDGETS[arch], rel=1e-3)


def passes(network, example):
    """Return the number of convolutions that have run once each module gives what it gives, by module path."""
    done, ran = {}, [0]

    def hook(path, module):
        def count(*args):
            counted = isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d) and getattr(module, "groups", 1) == 1
            ran[0] += counted and not any(part.startswith("attention") for part in path.split("."))
            done[path] = ran[0]

        return count

    for path, module in network.named_modules():
        module.register_forward_hook(hook(path, module))
    with torch.device("meta"), torch.no_grad():
        network(example)
    return done, ran[0]


@every_family
def test_table_ii(arch):
    architecture = published(arch)
    count_g, selected_g, shapes, count_d, selected_d = TABLE_II[arch]
    taps = architecture.taps()
    generator = generator_on_meta(architecture, architecture.full_widths(64))
    with torch.device("meta"):
        example, batch = architecture.example_input(), architecture.example_batch()
    with tapped({"G": modules_at(generator, taps.generator)}) as features, torch.no_grad():
        generator(example)
    assert [tuple(features["G"][path].shape[1:]) for path in taps.generator] == shapes
    counted, total = passes(generator, example)
    # The ReLU behind a U-Net's skip belongs to the convolution before it.
    assert total == count_g and tuple(counted[path] for path in taps.generator) == selected_g
    discriminator = on_meta(architecture.build_discriminator)
    with torch.no_grad():
        (fake, *_) = [
            pair.fake
            for pair in architecture.pairs(batch, architecture.generate(dict.fromkeys(architecture.generators, generator), batch)).values()
        ]
    counted, total = passes(discriminator, fake)
    assert total == count_d and tuple(counted[path] for path in taps.discriminator) == selected_d
    assert (len(find_layers(generator, example)), len(find_layers(discriminator, fake))) == (count_g, count_d)


@pytest.mark.parametrize(("arch", "settings", "width", "exact", "paper"), COSTS)
def test_costs(arch, settings, width, exact, paper):
    architecture = published(arch, **settings)
    cost = generator_cost(architecture, architecture.full_widths(width))
    assert (cost.macs, cost.paper_macs) == pytest.approx((exact, paper), rel=5e-4)


def test_the_size_of_sagan_at_128_pixels():
    architecture = published("sagan", size=128)
    assert architecture.full_widths(64) == {"up1": 1024, "up2": 512, "up3": 256, "up4": 128, "up5": 64}
    assert architecture.taps().generator == ("up2.2", "up5.2")
