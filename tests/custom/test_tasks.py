"""Every task with a small generator that knows nothing of this library: the families' contract, and runs from start to saved student."""

import multiprocessing
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

import gcc
from gcc import testing
from gcc.custom.gan import checked_losses
from gcc.custom.tasks import Paired
from gcc.errors import ArtifactError, GccError
from gcc.models.layers import PatchDiscriminator
from gcc.registry import TASKS, Pair
from gcc.training.student import StudentPair
from gcc.training.teacher import Teacher
from tests.helpers.custom_toys import CUSTOM, Critic, Enlarger, Translator, settings_of

DIGITS = TensorDataset(2 * torch.rand(12, 1, 28, 28, generator=torch.Generator().manual_seed(0)) - 1)
"""Images as large as MNIST's."""


def seeded(task):
    torch.manual_seed(0)
    return CUSTOM[task][0]()


def custom_family(task):
    return Teacher.of(seeded(task), task, **settings_of(task)).architecture({})


@pytest.mark.parametrize("task", CUSTOM)
def test_the_contract_of_families_holds(task):
    family = custom_family(task)
    widths = family.widths(1)
    testing.check_groups(family)
    for share in (1, 2, 3):
        testing.check_widths(family, {name: max(1, width.channels // share) for name, width in widths.items()})
    testing.check_costs_fall(family)
    testing.check_gates(family)
    testing.check_step(family)
    testing.check_inputs(family)


def test_features_weigh_more_where_no_loss_compares_images():
    weights = {task: TASKS.load(task).published().gamma_m for task in CUSTOM}
    assert weights == {"paired": 1.0, "unpaired": 10.0, "super-resolution": 0.1, "noise": 1.0}


@pytest.mark.parametrize("task", CUSTOM)
def test_a_run_saves_a_student_that_its_class_loads_bit_equal(task, tmp_path):
    generator = seeded(task)
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    run = gcc.Compressor(generator=generator, task=task, data=CUSTOM[task][2], device="cpu", **settings_of(task))
    result = run.run(progress=False)
    report = result.pairs["student"].generators["G"]
    assert report.cost.macs <= 0.5 * result.pairs["teacher"].generators["G"].cost.macs
    assert all(torch.equal(before[name], tensor) for name, tensor in generator.state_dict().items())
    result.save(tmp_path / "run")
    loaded = gcc.load(tmp_path / "run/student", CUSTOM[task][0])
    example = torch.randn(run.architecture.example_input().shape)
    with torch.no_grad():
        assert torch.equal(loaded(example), result.student(example))
    with pytest.raises(ArtifactError, match=r"custom_toys\.\w+, and code that a file names is not imported: give .* as `factory`"):
        gcc.load(tmp_path / "run/student")
    again = Teacher.load(tmp_path / "run/teacher", CUSTOM[task][0])
    assert again.generators()["G"](example).shape == loaded(example).shape


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        (
            lambda fake, batch: {"own": (fake - batch["target"]).abs().mean()},
            r"losses raised KeyError: 'target'; expected .* output, \(2, 3, 32, 32\), and the batch, a dict of 'A', 'B'",
        ),
        (lambda fake, batch: {"fine": fake.mean(), "own": (fake.mean() * 0).log()}, "losses returned own = -inf for the first training"),
        (lambda fake, batch: {"own": fake}, "losses returned .*: expected scalar tensors by name"),
        (
            lambda fake, batch: {"own": (fake.detach() - batch["B"]).abs().mean()},
            "losses returned own without a gradient: expected",
        ),
        (lambda fake, batch: {}, "losses returned nothing with a gradient: expected at least one loss"),
    ],
)
def test_losses_of_ones_own_are_tried_before_training(losses, message):
    with pytest.raises(GccError, match=message):
        gcc.Compressor(
            generator=Translator(), task="paired", losses=losses, data=CUSTOM["paired"][2], device="cpu", **settings_of("paired")
        ).check()


def test_the_processes_that_read_samples_for_the_losses_end():
    losses = lambda fake, batch: {"own": (fake - batch["B"]).abs().mean()}  # noqa: E731
    data, settings = CUSTOM["paired"][2], settings_of("paired")
    run = gcc.Compressor(generator=Translator(), task="paired", losses=losses, data=data, device="cpu", workers=1, **settings)
    before = set(multiprocessing.active_children())
    run.check()
    assert set(multiprocessing.active_children()) <= before


def test_a_discriminator_of_ones_own_plays_with_gates_and_its_weights(tmp_path):
    torch.manual_seed(0)
    critic, losses = Critic(), lambda fake, batch: {"own": 3 * (fake - batch["B"]).abs().mean()}
    run = gcc.Compressor(
        generator=Translator(),
        discriminator=critic,
        task="paired",
        data=CUSTOM["paired"][2],
        losses=losses,
        device="cpu",
        **settings_of("paired"),
    )
    steps = list(run.steps())
    assert {"own", "G"} <= steps[-1].losses["student"].keys() and "L1" not in steps[-1].losses["student"]
    assert run.student.gates["D"].keys() == {"first.gate", "norm.gate"}
    trained = gcc.Compressor(
        generator=Translator(), discriminator=critic, task="paired", data=CUSTOM["paired"][2], device="cpu", **settings_of("paired")
    )
    trained.widths = trained.reachable_widths()
    trained.reinitialize()
    given = dict(critic.named_parameters())
    for name, parameter in trained.teacher.discriminators["D"].named_parameters():
        assert torch.equal(parameter, given[name])


@pytest.mark.parametrize(
    ("task", "channels", "fields"),
    [
        ("paired", (1, 4), {"input_nc": 1, "output_nc": 4}),
        ("unpaired", (2, 1), {"input_nc": 2, "output_nc": 1}),
        ("super-resolution", (1, 1), {"output_nc": 1}),
        ("noise", (6, 2), {"output_nc": 2}),
    ],
)
def test_the_channels_of_a_generator_are_found(task, channels, fields):
    before, after = channels
    enlarge = {"super-resolution": 2, "noise": 16}.get(task, 1)
    layers = [torch.nn.Conv2d(before, 8, 1), torch.nn.ReLU(), torch.nn.Conv2d(8, after, 1), torch.nn.Upsample(scale_factor=enlarge)]
    family = Teacher.of(torch.nn.Sequential(*layers), task, example=torch.zeros(1, before, *([1, 1] if task == "noise" else [32, 32])))
    architecture = family.architecture({"size": 16} if task == "noise" else {"size": 32})
    assert {name: getattr(architecture.recipe, name) for name in fields} == fields
    testing.check_step(architecture)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"generator": Translator(), "task": "pared"}, "task 'pared' is unknown.*paired"),
        ({"generator": Translator()}, "`task` is missing"),
        ({"task": "paired"}, "`generator` is missing"),
        ({"generator": Translator(), "task": "super-resolution"}, r"returns \(1, 3, 64, 64\) for \(1, 3, 64, 64\).*2, 4 or 8 times"),
        ({"generator": Enlarger(), "task": "paired", "size": 16}, "expects an image and one of the same size"),
        ({"generator": Translator(), "task": "noise"}, "the task noise needs the shape of the noise"),
        ({"generator": Translator(), "task": "paired", "value_range": (1, 0)}, r"value_range = \(1, 0\)"),
        ({"generator": Translator(), "task": "paired", "value_range": "0,1"}, r"value_range = '0,1': .* such as 0..1"),
        (
            {"generator": Translator(), "task": "paired", "example": torch.zeros(1, 4, 8, 8)},
            r"expected a generator that runs on \(1, 4, 8, 8\): change its code, or",
        ),
        (
            {"generator": torch.nn.Conv2d(1, 1, 1), "task": "unpaired", "size": 8},
            r"runs on \(1, 3, 8, 8\): give `input_nc=1` if its images have 1 channel, or",
        ),
        ({"generator": torch.nn.Conv2d(2, 2, 1), "task": "super-resolution"}, "give `output_nc=2` if its images have 2 channels, or"),
        ({"generator": torch.nn.Flatten(), "task": "paired", "size": 8}, r"returns \(1, 192\): expected images"),
        ({"teacher": Teacher.create("pix2pix"), "generator": Translator(), "task": "paired"}, "leave out either"),
        ({"generator": Translator().half(), "task": "paired"}, r"the generator has weights in float16: .*`generator.float\(\)`"),
        (
            {"generator": "g_ddp.pth", "task": "paired"},
            r"generator = 'g_ddp.pth': expected .* Module; .* load_state_dict with torch.load\('g_ddp.pth', weights_only=True\)",
        ),
        (
            {"generator": Translator().state_dict()},
            "expected an object of type Module; .* load_state_dict with these, and give it as generator",
        ),
        ({"generator": Translator()}, r"`task` is missing: .* \(one of noise, paired, super-resolution, unpaired\)"),
        ({}, "no teacher: expected Teacher.create"),
        ({"teacher": Translator()}, "is not a teacher: expected Teacher.create"),
    ],
)
def test_networks_that_do_not_fit_the_task_are_refused(arguments, message):
    with pytest.raises(GccError, match=message):
        gcc.Compressor(**arguments)


@pytest.mark.parametrize(("start", "fits"), [("inherited", 1), ("fresh", 0)])
def test_the_maps_of_an_inherited_student_start_closest_to_the_teachers_features(start, fits, monkeypatch):
    gradients, fit = [], StudentPair.fit_projections

    def fitted(student, teacher, batch):
        fit(student, teacher, batch)
        own, wanted = (pair.generate(batch).features["G"] for pair in (student, teacher))
        for path, mapped in student.projections["G"](own).items():
            # The squared distance to the teacher's features is smallest: its gradient for the map is 0.
            error = mapped - wanted[path]
            gradients.append((torch.einsum("nchw,ndhw->cd", own[path], error).abs().max() / own[path].norm() / wanted[path].norm()).item())

    monkeypatch.setattr(StudentPair, "fit_projections", fitted)
    settings = settings_of("paired") | {"start": start}
    run = gcc.Compressor(generator=seeded("paired"), task="paired", data=CUSTOM["paired"][2], device="cpu", **settings)
    run.run(progress=False)
    assert len(gradients) == fits * len(run.student.projections["G"].paths) and max(gradients, default=0) < 1e-5


def test_families_do_not_inherit(tmp_path):
    run = gcc.Compressor(gcc.Teacher.create("pix2pix"), start="inherited", epochs=1)
    with pytest.raises(GccError, match="students of pix2pix start with fresh weights"):
        run.check()


@pytest.mark.parametrize(
    ("last", "gan_mode", "is_refused"),
    [(torch.nn.Sigmoid(), "vanilla", True), (torch.nn.Sequential(torch.nn.Sigmoid(), torch.nn.Flatten()), "hinge", True)]
    + [(torch.nn.Sigmoid(), "lsgan", False), (torch.nn.Flatten(), "vanilla", False)],
)
def test_probabilities_are_refused_where_the_loss_expects_logits(last, gan_mode, is_refused):
    critic = torch.nn.Sequential(Critic(), last)
    family = Teacher.of(Translator(), "paired", critic, size=32).architecture({"gan_mode": gan_mode, "size": 32})
    if is_refused:
        with pytest.raises(GccError, match="ends with a sigmoid"):
            family.taps()
    else:
        assert family.taps().discriminator


class TwoScales(Critic):
    """Joins the probabilities of two scales."""

    def forward(self, images):
        scales = [torch.sigmoid(super(TwoScales, self).forward(part)) for part in (images, images[..., ::2, ::2])]
        return torch.cat([logits.transpose(2, 3).flatten(1) for logits in scales], 1)


def test_joined_probabilities_are_refused_too():
    family = Teacher.of(Translator(), "paired", TwoScales(), size=32).architecture({"gan_mode": "hinge", "size": 32})
    with pytest.raises(GccError, match="ends with a sigmoid"):
        family.taps()


def test_a_teacher_that_stays_as_it_is_cannot_be_trained():
    with pytest.raises(GccError, match="train_teacher = false"):
        gcc.Trainer(Teacher.create("pix2pix", train_teacher=False))


def test_datasets_of_ones_own_have_no_range():
    with pytest.raises(GccError, match="leave `range` out"):
        gcc.Compressor(generator=Translator(), task="paired", data=CUSTOM["paired"][2], range="0..4095", size=32).check()


class Scales(Critic):
    """Returns the logits of several scales as a list."""

    def forward(self, images):
        return [super().forward(images)]


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "losses returned None: expected scalar tensors by name"),
        ({"a": 1.0}, "expected scalar tensors by name"),
        ({"a": torch.zeros(2)}, "expected scalar tensors by name"),
        ({"G": torch.zeros(())}, "losses returned G: these are names of the method's own losses"),
    ],
)
def test_losses_are_scalars_by_names_of_their_own(returned, message):
    with pytest.raises(GccError, match=message):
        checked_losses(returned)


class OfTwo(Critic):
    """A discriminator of two images."""

    def forward(self, x, y):
        return super().forward(torch.cat([x, y], 1))


@pytest.mark.parametrize(
    ("critic", "fault"), [(OfTwo(), r"the network \(OfTwo\): .* argument: 'y'"), (torch.nn.Conv2d(3, 1, 3), "to have 3 channels")]
)
def test_a_discriminator_that_takes_other_inputs_is_wrapped_as_the_message_says(critic, fault):
    remedy = r"torch\.cat\(\[A, B\], 1\) as one tensor xy; .* d\(xy\[:, :3\], xy\[:, 3:\]\) if .* d\(xy\[:, 3:\]\) if it takes B alone"
    with pytest.raises(GccError, match=f"{fault}.*: it gets {remedy}") as raised:
        gcc.Compressor(
            generator=Translator(), discriminator=critic, task="paired", data=CUSTOM["paired"][2], device="cpu", **settings_of("paired")
        ).check()
    assert "gate_insertion" not in str(raised.value)


def test_a_discriminator_returns_one_tensor():
    with pytest.raises(GccError, match="the discriminator returns list: expected its logits as one tensor"):
        gcc.Compressor(
            generator=Translator(),
            discriminator=Scales(),
            task="paired",
            data=CUSTOM["paired"][2],
            device="cpu",
            **settings_of("paired"),
        ).check()


@pytest.mark.parametrize("use", ["full", "none", "selective"])
def test_a_discriminator_without_a_layer_for_a_gate_is_refused_for_selective_activation_alone(use):
    dense = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6 * 32 * 32, 1))
    teacher = Teacher.of(Translator(), "paired", dense, size=32)
    run = gcc.Compressor(teacher, data=CUSTOM["paired"][2], device="cpu", discriminator=use, **settings_of("paired"))
    if use == "selective":
        with pytest.raises(GccError, match=r'no layer for a gate: .* Teacher\.of.* `discriminator="full"`'):
            run.check()
    else:
        run.run(progress=False)
        settings = settings_of("paired")
        del settings["budget"]
        gcc.Trainer(teacher, data=CUSTOM["paired"][2], device="cpu", train_teacher=True, **settings).run(progress=False)


class Digits(torch.nn.Sequential):
    """Maps noise (N, 6, 1, 1) to grey images of 28 pixels."""

    def __init__(self):
        super().__init__(
            *(torch.nn.ConvTranspose2d(6, 8, 7), torch.nn.ReLU(), torch.nn.ConvTranspose2d(8, 6, 4, 2, 1), torch.nn.ReLU()),
            *(torch.nn.ConvTranspose2d(6, 1, 4, 2, 1), torch.nn.Tanh()),
        )


def test_noise_of_other_sizes_needs_a_discriminator_of_ones_own():
    settings = {"generator": Digits(), "task": "noise", "example": torch.zeros(1, 6, 1, 1), "data": DIGITS, "device": "cpu"}
    settings |= {"epochs": 1, "batch_size": 4, "ndf": 4, "budget": "50%", "evaluators": ""}
    with pytest.raises(GccError, match="^size = 28: the default discriminator .* 8 pixels up: give your own as `discriminator`"):
        gcc.Compressor(**settings).check()
    gcc.Compressor(**settings, discriminator=Critic(1)).check()


def test_frozen_weights_are_trained(tmp_path):
    generator, critic = Translator().requires_grad_(False), Critic().requires_grad_(False)
    run = gcc.Compressor(
        generator=generator, discriminator=critic, task="paired", data=CUSTOM["paired"][2], device="cpu", **settings_of("paired")
    )
    list(run.steps())
    assert not any(parameter.requires_grad for parameter in (*generator.parameters(), *critic.parameters()))
    assert not torch.equal(run.teacher.generators["G"].head[0].weight, generator.head[0].weight)


def test_a_process_that_reads_data_gets_the_family_without_its_networks():
    family = custom_family("noise")
    again = pickle.loads(pickle.dumps(family))
    assert again.example_input().shape == family.example_input().shape and again.recipe == family.recipe
    assert torch.equal(again.sample_z(np.random.default_rng(0)), family.sample_z(np.random.default_rng(0)))
    with pytest.raises(ArtifactError, match="code that a file names is not imported"):
        again.networks.generator  # noqa: B018


def test_facts_of_the_generator_cannot_be_contradicted():
    with pytest.raises(GccError, match="scale = 4: the generator's is 2: leave it out"):
        Teacher.of(Enlarger(), "super-resolution", cost_size=16, scale=4)


def test_a_saved_teacher_takes_its_own_discriminator_again(tmp_path):
    data, settings = CUSTOM["paired"][2], settings_of("paired")
    run = gcc.Compressor(generator=Translator(), discriminator=Critic(), task="paired", data=data, device="cpu", **settings)
    run.run(progress=False).save(tmp_path / "run")
    trained = run.teacher.discriminators["D"].state_dict()
    without = Teacher.load(tmp_path / "run/teacher", Translator)
    assert not without.has_discriminators and "has no discriminators" in without.note
    again = gcc.Compressor(Teacher.load(tmp_path / "run/teacher", Translator, Critic()), data=data, device="cpu", epochs=1)
    again.widths = again.reachable_widths()
    again.reinitialize()
    assert all(torch.equal(trained[name], tensor) for name, tensor in again.teacher.discriminators["D"].state_dict().items())


class Unconditional(Paired):
    """Paired translation whose discriminator gets the outputs alone."""

    def default_discriminator(self, gate):
        return PatchDiscriminator(self.recipe.output_nc, self.recipe.ndf, "batch", gate)

    def pairs(self, batch, samples):
        return {"D": Pair(self.target(batch), samples["fake"])}


@pytest.mark.slow
def test_a_task_of_ones_own_is_registered_trained_compressed_and_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(TASKS, "_registered", set())
    TASKS.register("unconditional", Unconditional)
    settings = {"size": 32, "steps": 1, "ndf": 4, "evaluators": "", "device": "cpu", "task": "unconditional"}
    gcc.Trainer(generator=seeded("paired"), **settings).run(progress=False).save(tmp_path / "trained")
    teacher = Teacher.load(tmp_path / "trained/teacher", Translator)
    assert teacher.arch == "unconditional" and teacher.has_discriminators
    result = gcc.Compressor(teacher, size=32, steps=1, evaluators="", device="cpu").run(progress=False)
    result.save(tmp_path / "run")
    assert gcc.load(tmp_path / "run/student", Translator) is not None
