"""Algorithm 1 from end to end, on demo data."""

import copy
import json
import math
import re
import sys
from collections import Counter
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from gcc import Compressor, Teacher, load
from gcc.artifacts.model import read
from gcc.deploy.latency import Latency
from gcc.errors import ArtifactError, BudgetError, GccError, OutputWarning, PluginError, RecipeError, TrainingError
from gcc.losses.coordination import SmoothedTarget
from gcc.models.build import build_generators
from gcc.pruning.budget import Budget
from gcc.pruning.importance import L1Norm
from gcc.registry import ARCHITECTURES, METRICS
from gcc.training import precision
from gcc.training.build_pairs import distillation_layers, teacher_networks
from gcc.training.loss_tree import flattened, leaves
from gcc.training.student import StudentPair
from gcc.training.teacher_trainer import Trainer
from gcc.training.width_search import search_channels
from tests.helpers.custom_toys import Translator, settings_of
from tests.helpers.families import GENERATOR_RUNS, TINY, one_quick_family

families = pytest.mark.parametrize("arch", TINY)


def compressor(arch, **settings):
    return Compressor(Teacher.create(arch), **(TINY[arch] | settings))


def state(networks):
    return {f"{name}.{key}": value.clone() for name, network in networks.items() for key, value in network.state_dict().items()}


@families
def test_a_run_ends_within_the_budget_and_is_loaded_bit_equal(arch, tmp_path):
    run = compressor(arch)
    steps = []
    result = run.run(steps.append)
    assert all(math.isfinite(float(loss)) for step in steps for _, loss in leaves(step.losses))
    for name, network in result.students.items():
        measurements = result.measurements()[name]
        budget = Budget.parse_each(run.recipe.budget, run.architecture.generators)[name]
        limit = budget.limit(run.context.teacher_cost(), run.recipe.mac_counter)
        assert measurements["student"]["exact_macs"] <= limit < measurements["teacher"]["exact_macs"]
        assert sum(parameter.numel() for parameter in network.parameters()) == measurements["student"]["parameters"]
        assert all(math.isfinite(value) for columns in measurements.values() for value in columns["metrics"].values())
    result.save(tmp_path)
    before = (tmp_path / "student" / "README.md").read_text()
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.warns(OutputWarning, match="contained an earlier run, which is in .*replaced now"):
        result.save(tmp_path)
    assert (tmp_path / "replaced" / "student" / "README.md").read_text() == before and (tmp_path / "notes.txt").read_text() == "mine"
    for role in ("student", "teacher"):
        for name, artifact in read(tmp_path / role).items():
            loaded = load(artifact.folder)
            assert not loaded.training
            network = result.pairs[role].generators[name].network
            with torch.no_grad():
                example = torch.randn_like(run.architecture.example_input())
                assert torch.equal(loaded(example), network.cpu()(example))
            assert json.loads((artifact.folder / "config.json").read_text())["figures"] == result.measurements()[name]


@pytest.mark.slow
@families
def test_the_same_seed_gives_the_same_student_bit_for_bit_and_another_seed_another(arch):
    def trained(seed):
        run = compressor(arch, seed=seed, epochs=1)
        run.run()
        return state(run.student.generators) | state(run.teacher.generators)

    first, again, other = trained(3), trained(3), trained(4)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert first.keys() != other.keys() or any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.slow
@families
def test_phases_and_numbers_of_steps_follow_algorithm_1(arch):
    run = compressor(arch, epochs=20, batch_size=400)
    steps = list(run.steps())
    per_epoch, before = run.context.loader.steps, run.recipe.pretrain_epochs
    phases = [("search_pretrain", before), ("search", 2), ("pretrain", before), ("train", 20)]
    assert [step.phase for step in steps] == [phase for phase, epochs in phases for _ in range(epochs * per_epoch)]
    assert [step.epoch for step in steps if step.phase == "train" and step.ends_epoch] == list(range(1, 21))
    assert steps[-1].number == steps[-1].total == 20 * per_epoch
    assert not any("student" in step.losses for step in steps if step.phase == "search")


@one_quick_family
def test_student_and_teacher_start_anew_and_inherit_nothing(arch):
    run = compressor(arch)
    for step in run.steps():
        if step.phase == "search" and step.ends_epoch:
            searched = state(run.pairs["search"].generators)
        if step.phase == "train":
            break
    new, _ = teacher_networks(run.context, run.recipe.ngf, "teacher")
    # One step of Adam changes no weight by much more than the learning rate.
    updates = 1 + run.recipe.pretrain_epochs * run.context.loader.steps
    for name, network in new.items():
        for value, trained in zip(network.parameters(), run.teacher.generators[name].parameters(), strict=True):
            assert (trained - value).abs().max() <= 1.01 * run.recipe.lr_g * updates
    for name, network in build_generators(run.architecture, run.widths, "student").items():
        for value, trained in zip(network.parameters(), run.student.generators[name].parameters(), strict=True):
            assert (trained - value).abs().max() <= 1.01 * run.recipe.lr_g * updates
    kernels = [key for key, value in searched.items() if value.ndim == 4]
    teacher = state(run.teacher.generators)
    assert all(not torch.allclose(searched[key], teacher[key], atol=1e-3) for key in kernels)


def test_alpha_trains_on_a_second_batch(monkeypatch):
    run, batches = compressor("pix2pix"), []
    steps = second_step(run)
    generate = type(run.student).generate
    monkeypatch.setattr(type(run.student), "generate", lambda self, batch: (batches.append(batch), generate(self, batch))[1])
    next(steps)
    first, second = batches
    assert any(not torch.equal(first[key], second[key]) for key in first)


def test_the_student_pair_trains_in_the_order_of_the_recipe(monkeypatch):
    order_of_steps = []
    step_G, step_D = StudentPair.step_G_distilled, StudentPair.step_D
    monkeypatch.setattr(StudentPair, "step_G_distilled", lambda self, *args: (order_of_steps.append("G"), step_G(self, *args))[1])
    monkeypatch.setattr(StudentPair, "step_D", lambda self, *args: (order_of_steps.append("D"), step_D(self, *args))[1])
    for order, student_steps in (("GD", 1), ("DG", 1), ("GD", 2)):
        order_of_steps.clear()
        for step in compressor("pix2pix", update_order=order, student_steps=student_steps).steps():
            if step.phase == "train":
                break
        assert "".join(order_of_steps) == order * student_steps


@pytest.mark.parametrize("arch", ["pix2pix", "cyclegan"])
def test_the_target_follows_the_teacher_with_beta_of_the_epoch(arch, monkeypatch):
    updates = []
    update = SmoothedTarget.update
    monkeypatch.setattr(
        SmoothedTarget,
        "update",
        lambda self, new, epoch, epochs: (updates.append((float(new), epoch, epochs)), update(self, new, epoch, epochs))[1],
    )
    run = compressor(arch, epochs=4)
    losses = [step.losses for step in run.steps() if step.phase == "train"]
    count = len(run.architecture.discriminators)
    for number, name in enumerate(run.architecture.discriminators):
        expected = []
        for new, epoch, epochs in updates[number::count]:
            beta = epoch / epochs if expected else 0.0
            expected.append(new if not expected else beta * expected[-1] + (1 - beta) * new)
        assert [float(terms["target"][name]) for terms in losses] == pytest.approx(expected, rel=1e-5)
    assert [epoch for _, epoch, _ in updates[::count]] == [1, 1, 2, 2, 3, 3, 4, 4]


@pytest.mark.slow
@families
def test_training_starts_from_a_pretrained_teacher_which_may_stay_frozen(arch, tmp_path):
    settings = TINY[arch] | {"epochs": 1}
    Trainer(Teacher.create(arch), **settings).run().save(tmp_path)
    teacher = Teacher.load(tmp_path / "teacher")
    frozen = Compressor(teacher, train_teacher=False, **settings)
    frozen.run()
    for name, trained in teacher.generators().items():
        saved = trained.state_dict()
        assert all(torch.equal(value, saved[key]) for key, value in frozen.teacher.generators[name].state_dict().items())
    run = Compressor(teacher, **settings)
    start, _ = teacher_networks(run.context, run.recipe.ngf, "teacher")
    for name, trained in teacher.generators().items():
        saved = trained.state_dict()
        assert all(torch.equal(value, saved[key]) for key, value in start[name].state_dict().items())
    run.run()
    assert any(not torch.equal(value, saved[key]) for key, value in run.teacher.generators[name].state_dict().items())
    with pytest.raises(ArtifactError, match="does not fit this run's recipe"):
        Compressor(teacher, **(settings | {"ngf": 8})).check()


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"budget": "1%"}, BudgetError, "can be pruned to between"),
        ({"budget": "99G"}, BudgetError, "can be pruned to between"),
        ({"budget": "lots"}, BudgetError, "lots"),
        ({"metric": "sliming"}, PluginError, "slimming"),
        ({"selector": "down2.act,down33.act"}, RecipeError, "down33.act"),
        ({"metric": "slimming", "norm": "instance"}, PluginError, "the metric l1"),
        ({"size": 48}, RecipeError, "multiple of 32"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_any_training(settings, error, message, monkeypatch):
    monkeypatch.setattr(Compressor, "steps", lambda self: pytest.fail("trained"))
    with pytest.raises(error, match=message):
        compressor("pix2pix", **settings).run()


@pytest.mark.parametrize(
    ("arch", "settings"),
    [
        *(("pix2pix", {"gan_mode": mode}) for mode in ("hinge", "lsgan", "vanilla")),
        *((arch, {"gan_mode": "wgangp", "metric": "l1"}) for arch in TINY),
    ],
)
def test_every_gan_loss_and_metric_trains(arch, settings):
    losses = [step.losses for step in compressor(arch, epochs=1, **settings).steps()]
    assert all(math.isfinite(float(loss)) for terms in losses for _, loss in leaves(terms))
    assert ("D_penalty" in losses[-1]["teacher"]) == (settings.get("gan_mode") == "wgangp")


@pytest.mark.slow
@families
def test_bfloat16_trains_close_to_float32(arch):
    def first_losses(amp):
        run = Compressor(Teacher.create(arch), amp=amp, **TINY[arch])
        steps = run.steps()
        losses = next(step.losses for step in steps if step.phase == "train")
        assert all(parameter.dtype == torch.float32 for network in run.student.generators.values() for parameter in network.parameters())
        return {name: float(loss) for name, loss in flattened(losses).items()}

    full, half = first_losses("off"), first_losses("bf16")
    assert full != half
    # With eight images, the loss of CycleGAN's retention factors differs the most, by 22 %.
    assert half == pytest.approx(full, rel=0.3, abs=0.05)


def second_step(run):
    """Run the first step and one iteration of the second, and return the remaining steps."""
    steps = run.steps()
    while next(steps).phase != "train":
        pass
    return steps


@families
@pytest.mark.parametrize(("order", "student_steps"), [("GD", 3), ("DG", 1)])
def test_each_network_runs_as_often_as_algorithm_1_needs(arch, order, student_steps):
    # Several iterations per epoch, since the end of an epoch generates more images.
    run = compressor(arch, update_order=order, batch_size=4, student_steps=student_steps)
    steps = second_step(run)
    counted = Counter()
    for role, pair in run.pairs.items():
        for kind, networks in (("G", pair.generators), ("D", pair.discriminators)):
            for network in networks.values():
                network.register_forward_hook(lambda *args, name=f"{role} {kind}": counted.update([name]))
    next(steps)
    # Passes of each network. D^T: real and fake images in its own step and the images of G^T, then those of each G^S. D^S: real and fake
    # images, where the fake ones serve both steps if D is updated last and reads no pool; then two for alpha.
    generators, discriminators, runs = len(run.architecture.generators), len(run.architecture.discriminators), GENERATOR_RUNS[arch]
    shared = order == "GD" and not run.recipe.pool_size
    assert counted == {
        "teacher G": generators * runs,
        "student G": generators * (runs * student_steps + 1),
        "teacher D": discriminators * (3 + student_steps),
        "student D": discriminators * ((2 if shared else 3) * student_steps + 2),
    }


@pytest.mark.usefixtures("gradients_stay")
@pytest.mark.parametrize("arch", ["pix2pix", "sagan", "srgan"])
def test_a_shared_output_trains_the_discriminator_like_a_recomputed_one(arch):
    run = compressor(arch)
    second_step(run)
    batch = next(run.context.loader.batches(1, 1))
    shared, recomputed = run.student, copy.deepcopy(run.student)
    shared.begin(1)
    fake = shared.generate(batch)
    output = shared.discriminate(fake)
    losses = shared.step_D(fake, output)
    recomputed.begin(1)
    # With spectral norm, one more pass is one more power iteration, which changed the gradients by 2.5 %.
    torch.testing.assert_close(recomputed.step_D(recomputed.generate(batch)), losses, rtol=1e-3, atol=1e-4)
    actual, expected = (torch.cat([parameter.grad.flatten() for parameter in pair.optimizer_D.parameters]) for pair in (shared, recomputed))
    assert (actual - expected).norm() < 0.05 * expected.norm()


def test_a_run_that_diverges_has_no_result():
    with pytest.raises(TrainingError, match="is not finite at .*lower `lr_g"):
        compressor("pix2pix", lr_g=1e9).run()


def test_networks_that_do_not_fit_into_memory_are_refused_before_they_are_built(monkeypatch):
    run = compressor("pix2pix")
    monkeypatch.setattr("gcc.training.footprint.free_memory", lambda device: 10**9)
    run.check()
    monkeypatch.setattr("gcc.training.loop.teacher_networks", lambda *arguments: pytest.fail("built"))
    monkeypatch.setattr("gcc.training.footprint.free_memory", lambda device: 1000)
    with pytest.raises(GccError, match=r"need 0\.0 GB, but 0\.0 GB are free: give lower `ngf"):
        run.check()


def test_a_generator_of_ones_own_that_does_not_fit_into_memory_is_not_told_to_lower_a_width_that_it_lacks(monkeypatch):
    run = Compressor(generator=Translator(), task="paired", **settings_of("paired"))
    monkeypatch.setattr("gcc.training.footprint.free_memory", lambda device: 1000)
    with pytest.raises(GccError, match="are free: give a smaller generator, or a lower `ndf"):
        run.check()


def test_a_teacher_without_all_generators_is_refused(tmp_path, monkeypatch):
    Trainer(Teacher.create("pix2pix"), **TINY["pix2pix"] | {"epochs": 1}).run().save(tmp_path)
    monkeypatch.setattr(ARCHITECTURES.load("pix2pix"), "generators", ("G", "H"))
    with pytest.raises(ArtifactError, match="lacks the generator H"):
        Teacher.load(tmp_path / "teacher")


def test_a_run_that_trains_only_a_teacher_has_no_student():
    result = Trainer(Teacher.create("pix2pix"), **TINY["pix2pix"] | {"epochs": 1}).run()
    with pytest.raises(GccError, match="has no student"):
        _ = result.student


def test_every_selector_distils_other_layers():
    def distilled(selector):
        run = compressor("pix2pix", selector=selector)
        return distillation_layers(run.context)

    paper, uniform, everything, by_name = map(distilled, ("paper", "uniform", "all", "down2.act,conv3.3"))
    assert by_name.generators == {"G": ("down2.act",)} and by_name.discriminators == {"D": ("conv3.3",)}
    assert len(uniform.generators["G"]) == len(paper.generators["G"])
    assert len(everything.generators["G"]) == 9 and set(paper.discriminators["D"]) < set(everything.discriminators["D"])


def test_batches_are_prepared_only_for_task_losses(monkeypatch):
    run, calls = compressor("srgan"), []
    prepare = type(run.architecture).prepare
    monkeypatch.setattr(type(run.architecture), "prepare", lambda *arguments: (calls.append(1), prepare(*arguments))[1])
    phases = Counter(step.phase for step in run.steps())
    # The batch for alpha needs no task losses.
    assert phases["pretrain"] and len(calls) == phases["search"] + phases["train"]


def test_the_plan_names_repeated_updates_of_the_student():
    assert compressor("pix2pix", student_steps=3).plan()["student_steps"] == "3 updates of the student for each of the teacher"
    assert "student_steps" not in compressor("pix2pix").plan()


@pytest.mark.slow
def test_a_pretrained_teacher_skips_pre_training_and_the_plan_says_so(tmp_path):
    trained = Trainer(Teacher.create("srgan"), **TINY["srgan"])
    assert trained.plan()["training"].startswith("1 (pre-training) + 2 epochs")
    trained.run().save(tmp_path)
    again = Trainer(Teacher.load(tmp_path / "teacher"))
    assert {step.phase for step in again.steps()} == {"teacher"} and again.plan()["training"].startswith("2 epochs")
    run = Compressor(Teacher.load(tmp_path / "teacher"))
    assert run.plan()["training"].startswith("1 + 1 (pre-training) + 2 epochs")
    pretrained = [set(flattened(step.losses)) for step in run.steps() if "pretrain" in step.phase]
    assert pretrained and all(losses == {"student/pixel"} for losses in pretrained)
    assert compressor("srgan").plan()["training"].startswith("1 (pre-training) + 1 + 1 (pre-training) + 2 epochs")
    by_steps = {name: value for name, value in TINY["srgan"].items() if name != "epochs"} | {"steps": 30}
    text = Compressor(Teacher.create("srgan"), **by_steps).plan()["training"]
    # A tenth of the steps is 3, and the one epoch of the first step has 2.
    assert text.startswith("1 epoch (pre-training) + 2 + 1 epoch (pre-training) + 30 steps, in epochs of 2")


def test_a_frozen_teacher_normalises_by_the_batch_has_no_best_epoch_and_stays_as_it_is(tmp_path):
    Trainer(Teacher.create("pix2pix"), **TINY["pix2pix"]).run().save(tmp_path)
    run = Compressor(Teacher.load(tmp_path / "teacher"), train_teacher=False, epochs=4, evaluate_every=1)
    steps = second_step(run)
    before = state(run.teacher.generators) | state(run.teacher.discriminators)
    data = next(run.context.loader.batches(1, 1))
    with torch.no_grad():
        fake = run.teacher.generate(data)
        (logits,) = run.teacher.discriminate(fake).logits.values()
        copied = copy.deepcopy(run.teacher.discriminators["D"]).train()
        for module in copied.modules():
            module.track_running_stats = True
        assert torch.equal(logits, copied(fake.pairs["D"].fake))
        assert not torch.allclose(logits, copied.eval()(fake.pairs["D"].fake), atol=1e-3)
    for _ in steps:
        pass
    after = state(run.teacher.generators) | state(run.teacher.discriminators)
    assert all(torch.equal(after[key], value) for key, value in before.items())
    roles = run.result().roles
    assert roles["teacher"].best is roles["teacher"].last


# torch.compile reads the gradients of all inputs.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("arch", sorted(TINY))
def test_faster_modes_have_the_losses_of_the_reference_mode(arch, monkeypatch):
    monkeypatch.setattr(ARCHITECTURES.load(arch), "channels_last", True)
    # tests/training/test_compiled.py compiles for real; here, networks are only traced.
    monkeypatch.setattr(precision, "COMPILER", {"backend": "aot_eager"})
    losses = {}
    for mode in ("reference", "fast", "compile"):
        run = compressor(arch, epochs=2, **({mode: True} if mode != "fast" else {}))
        # Searched widths depend on the order of scores, which rounding errors may change.
        run.fixed_widths = run.context.full_widths(3)
        assert run.context.execution.layout == (torch.contiguous_format if mode == "reference" else torch.channels_last)
        assert run.plan()["device"].endswith(", compiled") == (mode == "compile")
        losses[mode] = [{name: float(value) for name, value in flattened(step.losses).items()} for step in run.steps()]
    for mode in ("fast", "compile"):
        for fast, slow in zip(losses[mode], losses["reference"], strict=True):
            assert fast == pytest.approx(slow, rel=1e-2, abs=1e-3)


@pytest.mark.parametrize("other", ["reference", "detect_anomaly"])
def test_compilation_excludes_the_modes_that_change_networks(other):
    with pytest.raises(GccError, match=f"`compile` cannot be combined.* leave out `compile` or `{other}`"):
        compressor("pix2pix", compile=True, **{other: True})


def test_a_cache_changes_no_loss(tmp_path):
    random = np.random.default_rng(0)
    for split, count in {"train": 4, "test": 1}.items():
        (tmp_path / split).mkdir()
        for number in range(count):
            Image.fromarray(random.integers(256, size=(40, 80, 3), dtype=np.uint8)).save(tmp_path / split / f"{number}.jpg")
    losses = []
    for cache in (False, True):
        run = compressor("pix2pix", data=tmp_path, cache=cache, epochs=1, batch_size=2)
        run.check()
        assert ("cache" in run.plan()) == cache
        losses.append([{name: float(value) for name, value in flattened(step.losses).items()} for step in run.steps()])
    assert losses[0] == losses[1]


def test_the_reference_mode_is_in_float32():
    with pytest.raises(GccError, match='leave out `reference` or `amp="bf16"`'):
        compressor("pix2pix", reference=True, amp="bf16")


class Recording(L1Norm):
    """Scores by the size of gradients, and records them."""

    gradient_batches = 3
    records: ClassVar[list] = []

    def score(self, network, group):
        gradients = [network.get_parameter(producer.parameter).grad for producer in group.producers]
        self.records.append((network, group.name, [gradient.clone() for gradient in gradients]))
        return torch.stack(
            [
                gradient.abs().transpose(0, producer.dim).flatten(1).sum(1).view(group.channels, -1).sum(1)
                for gradient, producer in zip(gradients, group.producers, strict=True)
            ]
        ).sum(0)


@pytest.mark.parametrize("arch", ["pix2pix", "cyclegan"])
def test_a_metric_reads_the_gradients_of_as_many_batches_as_it_declares(arch, monkeypatch):
    monkeypatch.setattr(METRICS, "load", {"recording": Recording}.__getitem__)
    monkeypatch.setattr(Recording, "records", [])
    run = compressor(arch, metric="recording")
    run.check()
    generators, widths = len(run.architecture.generators), len(run.architecture.widths(4))
    assert len(Recording.records) == generators * widths  # before any training, once
    Recording.records.clear()
    for step in run.steps():
        if step.phase == "train":
            break
    assert len(Recording.records) == 3 * generators * widths
    rounds = [Recording.records[start : start + widths] for start in range(0, len(Recording.records), widths)]
    for first, second in zip(rounds, rounds[1:], strict=False):
        assert not all(torch.equal(a, b) for one, other in zip(first, second, strict=True) for a, b in zip(one[2], other[2], strict=True))
    assert all(parameter.grad is None for network, _, _ in Recording.records for parameter in network.parameters())


def test_gradients_for_scores_do_not_depend_on_earlier_random_numbers(monkeypatch):
    # A run that is resumed between the two steps thus finds the same widths.
    monkeypatch.setattr(METRICS, "load", {"recording": Recording}.__getitem__)
    monkeypatch.setattr(Recording, "records", [])
    run = compressor("pix2pix", metric="recording")
    for step in run.steps():
        if step.number == step.total:
            break
    for seed in (1, 2):
        torch.manual_seed(seed)
        search_channels(run.context, run.metric, run.pairs["search"])
    first_half, second_half = Recording.records[: len(Recording.records) // 2], Recording.records[len(Recording.records) // 2 :]
    assert first_half and all(
        torch.equal(a, b) for first, second in zip(first_half, second_half, strict=True) for a, b in zip(first[2], second[2], strict=True)
    )


def test_a_latency_budget_is_measured_and_met(tmp_path, monkeypatch, capsys):
    def counted(network, example, runtime):
        assert runtime == "cpu"
        milliseconds = sum(parameter.numel() for parameter in network.parameters()) / 1000
        return Latency(milliseconds, milliseconds, "cpu", 1)

    def counted_in_turns(networks, example, runtime):
        return [counted(network, example, runtime) for network in networks]

    monkeypatch.setattr("gcc.pruning.search.measure_optimized", counted)
    monkeypatch.setattr("gcc.training.measure.measure_optimized_in_turns", counted_in_turns)
    full = compressor("pix2pix").context.teacher_cost().parameters
    run = compressor("pix2pix", budget=f"{0.4 * full / 1000:.3f}ms@cpu", round_to=2)
    assert "ms for one sample by cpu" in run.plan()["budget"]
    first, *times = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"timing the smallest and the full generator for the budget [\d.]+ms@cpu:", first)
    assert len(times) == 2 and all(re.fullmatch(r"  G: [\d.]+ [KM] MACs, [\d.]+ ms", line) for line in times)
    assert run.plan()["channels"] == "ranked by slimming"
    result = run.run()
    assert len(re.findall(r"  G: .* ms", capsys.readouterr().err)) > 2
    measurements = result.measurements()["G"]
    student, teacher = measurements["student"], measurements["teacher"]
    assert teacher["ready_ms"] == pytest.approx(full / 1000)
    assert 0.3 * full / 1000 < student["ready_ms"] <= student["promised_ms"] == pytest.approx(0.4 * full / 1000, abs=1e-3)
    assert student["promised_on"] == "cpu, 1 thread" and all(width % 2 == 0 for width in run.widths["G"].values())
    result.save(tmp_path)
    (artifact,) = read(tmp_path / "student").values()
    assert artifact.measurements["student"] == student
    assert "latency, ready for inference (cpu, 1 thread), budget" in (tmp_path / "student" / "README.md").read_text()
    config = json.loads((tmp_path / "student" / "config.json").read_text())
    del config["figures"]["student"]["ready_ms"]
    (tmp_path / "student" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ArtifactError, match="expected either all or none of promised_ms, promised_on, ready_ms"):
        read(tmp_path / "student")


@pytest.mark.parametrize("kind", [Compressor, Trainer])
def test_a_latency_that_this_machine_cannot_measure_is_refused_before_any_work(kind, monkeypatch):
    run = kind(Teacher.create("pix2pix"), **TINY["pix2pix"] | {"budget": "5ms@onnxruntime"})
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(GccError, match=r"needs onnx, onnxscript and onnxruntime: pip install 'gan-gcc\[export\]'"):
        run.check()
