import pytest

from gcc import Compressor, Teacher
from gcc.cli.settings import teacher_and_settings
from gcc.errors import BudgetError
from gcc.pruning.cost import generator_cost

TINY = {"size": 32, "ngf": 12, "ndf": 4, "epochs": 1}


def macs(architecture, base, counter):
    cost = generator_cost(architecture, architecture.full_widths(base))
    return cost.macs if counter == "exact" else cost.paper_macs


@pytest.mark.parametrize("counter", ["exact", "paper"])
@pytest.mark.parametrize("share", [3, 10, 25, 49, 50, 90, 100])
def test_the_width_is_the_smallest_that_costs_twice_the_budget(share, counter):
    architecture = Teacher.create("pix2pix", **TINY).architecture({"budget": f"{share}%", "mac_counter": counter})
    limit = 2 * share / 100 * macs(architecture, 12, counter)
    expected = next((base for base in range(1, 12) if macs(architecture, base, counter) >= limit), 12)
    assert architecture.recipe.prune_width == expected


def test_the_width_suits_the_largest_of_several_budgets():
    def width(budget):
        return Teacher.create("cyclegan", size=32, ngf=8, n_blocks=1, ndf=4).architecture({"budget": budget}).recipe.prune_width

    assert width("5%,30%") == width("30%") == width("30%,5%") > width("5%")
    assert width("5%,8ms@cpu") == 8


def test_parameters_count_where_the_budget_limits_them():
    architecture = Teacher.create("pix2pix", **TINY).architecture({"budget": "20%params"})
    parameters = [generator_cost(architecture, architecture.full_widths(base)).parameters for base in range(1, 13)]
    assert architecture.recipe.prune_width == 1 + next(k for k, number in enumerate(parameters) if number >= 0.4 * parameters[-1])


@pytest.mark.parametrize("demo", [False, True])
@pytest.mark.parametrize("arch", ["pix2pix", "cyclegan", "sagan", "srgan"])
def test_the_recipes_own_budget_has_its_own_counter_and_width(arch, demo):
    teacher = Teacher.create(arch)
    recipe = teacher.architecture_for(None if demo else "datasets/facades", {}).recipe
    family = type(teacher.architecture({}))
    assert recipe == (family.demo() if demo else family.published())


def test_a_given_budget_counts_exactly_unless_another_counter_is_asked_for():
    def fields(**settings):
        recipe = Teacher.create("pix2pix").architecture(settings | {"size": 32, "ndf": 4}).recipe
        return recipe.mac_counter, recipe.prune_width

    assert fields() == fields(epochs=3) == ("paper", 32)
    assert fields(mac_counter="exact") == ("exact", 32)
    assert fields(budget="100%") == ("exact", 64)
    assert fields(budget="100%", prune_width=20) == ("exact", 20)
    assert fields(budget="100%", mac_counter="paper") == ("paper", 64)
    assert fields(ngf=8)[1] <= 8
    with pytest.warns(FutureWarning, match="mac_counter"):
        assert fields(budget="100%", counter="paper")[0] == "paper"
    with pytest.raises(BudgetError, match="'half'"):
        fields(budget="half")


def test_a_budget_that_is_typed_leaves_the_counter_and_width_of_a_file(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(Teacher.create("pix2pix").architecture({"size": 32}).recipe.to_toml("pix2pix"))
    options = {"recipe": path, "preset": None, "arch": None, "assignments": (), "teacher": None}

    def recipe(**given):
        teacher, settings = teacher_and_settings(options | given)
        return teacher.architecture(settings).recipe

    assert (recipe().mac_counter, recipe().prune_width) == ("paper", 32)
    for given in ({"budget": "100%"}, {"assignments": ("budget=100%",)}):
        assert (recipe(**given).mac_counter, recipe(**given).prune_width) == ("exact", 64)
    assert recipe(budget="100%", mac_counter="paper").mac_counter == "paper"


def test_the_plan_says_what_share_of_the_channels_goes():
    run = Compressor(Teacher.create("pix2pix"), budget="25%", batch_size=200, **TINY)
    widths, full = run.reachable_widths()["G"], run.architecture.full_widths(run.recipe.prune_width)
    share = 1 - sum(widths.values()) / sum(full.values())
    assert run.plan()["channels"] == f"ranked by slimming; G: about {share:.0%} of {sum(full.values())} will be removed" and share > 0.1
