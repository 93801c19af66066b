"""Every training step of both pairs, on tiny networks, against the same step computed by hand."""

import copy
import dataclasses
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from gcc.losses.coordination import SmoothedTarget
from gcc.losses.distillers import Distillers
from gcc.losses.layers import NO_LAYERS, build_projections, select_layers
from gcc.models.gate import ChannelGate
from gcc.models.pix2pix import Pix2Pix
from gcc.training.pair import NO_OUTPUT, FrozenPair, GANPair, TeacherOutput
from gcc.training.precision import ExecutionConfig
from gcc.training.student import Distillation, StudentPair

pytestmark = pytest.mark.usefixtures("gradients_stay")
CPU = ExecutionConfig(torch.device("cpu"), torch.float32)
TAPS_G, TAPS_D = ("down2.act", "down4.act", "up4.act", "up2.act"), ("conv2", "conv4")


def architecture_with(**changes):
    base = dict(size=32, ngf=4, ndf=4, lr_g=1e-3, lr_d=3e-3, lr_alpha=0.2, dropout=0.0)
    return Pix2Pix(dataclasses.replace(Pix2Pix.published(), **(base | changes)))


def batch(seed):
    random = torch.Generator().manual_seed(seed)
    return {key: torch.rand(2, 3, 32, 32, generator=random) * 2 - 1 for key in ("A", "B")}


def teacher_and_student(kind=GANPair, execution=CPU, seed=0, **changes):
    """Return a teacher pair and a narrower student pair, with weights far enough from zero for every loss to matter."""
    torch.manual_seed(seed)
    architecture = architecture_with(**changes)
    full = architecture.full_widths(4)
    narrow = {name: max(1, width // 2) for name, width in full.items()}
    generators_T, generators_S = {"G": architecture.build_generator(full)}, {"G": architecture.build_generator(narrow)}
    with torch.device("meta"):
        meta = {"G": architecture.build_generator(full).eval()}, {"D": architecture.build_discriminator().eval()}
        thin = {"G": architecture.build_generator(narrow).eval()}
    layers = select_layers(architecture, *meta)
    teacher = kind(architecture, generators_T, {"D": architecture.build_discriminator()}, execution, {}, layers)
    gated = {"D": architecture.build_discriminator(lambda channels: ChannelGate(channels, architecture.recipe.tau))}
    projections = build_projections(architecture, meta[0], thin, layers)
    distillation = Distillation(Distillers(architecture.recipe), {"gcc": {}}, layers, projections)
    student = StudentPair(architecture, generators_S, gated, execution, {}, distillation, architecture.recipe.lr_alpha)
    for alpha in student.alphas:
        with torch.no_grad():
            alpha.copy_(torch.rand_like(alpha))
            alpha[::2] = 0.8  # some channels are open in every layer
    teacher.begin(1)
    student.begin(1)
    return teacher, student


def snapshot(*networks):
    return [{name: value.detach().clone() for name, value in network.state_dict().items()} for network in networks]


def parameters(network, alphas=False):
    by_name = dict(network.named_parameters())
    return {name: value.detach().clone() for name, value in by_name.items() if name.endswith("alpha") == alphas}


def equal(before, after):
    return before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def weights_of(pair):
    return {
        "G": parameters(pair.generators["G"]),
        "D": parameters(pair.discriminators["D"]),
        "alpha": parameters(pair.discriminators["D"], alphas=True),
        "f": parameters(pair.projections["G"]) if isinstance(pair, StudentPair) else {},
    }


def changed(before, pair):
    after = weights_of(pair)
    return {part for part in before if not equal(before[part], after[part])}


@contextmanager
def counting(*networks):
    counts = [0] * len(networks)

    def count(index):
        def hook(*_):
            counts[index] += 1

        return hook

    handles = [network.register_forward_hook(count(index)) for index, network in enumerate(networks)]
    yield counts
    for handle in handles:
        handle.remove()


# The networks by hand: the same functions as the modules, with their tapped features.


def unet(network, image):
    features, skips = {}, []
    depth = sum(name.startswith("down") for name, _ in network.named_children())
    for k in range(1, depth + 1):
        block = network.get_submodule(f"down{k}")
        image = block.act(block.norm(block.conv(image)))
        features[f"down{k}.act"] = image
        skips.append(image)
    inner = None
    for k in range(depth, 0, -1):
        block = network.get_submodule(f"up{k}")
        block_input = torch.relu(skips[k - 1] if inner is None else torch.cat([skips[k - 1], inner], 1))
        features[f"up{k}.act"] = block_input
        inner = block.conv(block_input)
        inner = block.norm(inner) if k > 1 else inner
    return torch.tanh(inner), features


def patch(network, image):
    features = {}
    for k in range(1, 6):
        image = network.get_submodule(f"conv{k}")(image)
        features[f"conv{k}"] = image
    return image, features


def hinge_real(d):
    return torch.clamp(1 - d, min=0).mean()


def hinge_fake(d):
    return torch.clamp(1 + d, min=0).mean()


def distance(student, teacher, gamma_m, gamma_t):
    loss = torch.zeros((), dtype=torch.float64)
    for s, t in zip(student, teacher, strict=True):
        s, t = s.double(), t.detach().double()
        n, c, h, w = s.shape
        for a, b in zip(s, t, strict=True):
            loss = loss + gamma_m * ((a - b) ** 2).mean().sqrt() / n
            g = torch.einsum("ihw,jhw->ij", a, a) / (h * w) - torch.einsum("ihw,jhw->ij", b, b) / (h * w)
            loss = loss + gamma_t * (g**2).sum().sqrt() / c**2 / n
    return loss


def adam(modules_or_parameters, lr, betas):
    return torch.optim.Adam(list(modules_or_parameters), lr=lr, betas=betas, fused=False, foreach=False)


def assert_equal_weights(expected, actual, lr):
    for name, value in expected.items():
        # The sign of a tiny gradient may be rounding noise, which changes a weight either way. There must be almost none of these.
        far = ((value - actual[name]).abs() > 0.02 * lr).float().mean().item()
        assert far <= 0.01, (name, far)


def test_step_G_is_eq_1_and_the_task_loss():
    pair, _ = teacher_and_student()
    g, d = copy.deepcopy(pair.generators["G"]), copy.deepcopy(pair.discriminators["D"])
    optimizer = adam(g.parameters(), 1e-3, (0.5, 0.999))
    for seed in (1, 2, 3):
        data = batch(seed)
        fake = pair.generate(data)
        got = pair.step_G(fake, pair.discriminate(fake))
        expected_fake, _ = unet(g, data["A"])
        logits, _ = patch(d, torch.cat([data["A"], expected_fake], 1))
        adversarial, task = -logits.mean(), 100 * (expected_fake - data["B"]).abs().mean()
        optimizer.zero_grad()
        (adversarial + task).backward()
        optimizer.step()
        assert set(got) == {"G", "L1"}
        assert got["G"].item() == pytest.approx(adversarial.item(), rel=1e-3, abs=1e-4)
        assert got["L1"].item() == pytest.approx(task.item(), rel=1e-4)
        assert not any(loss.requires_grad for loss in got.values())
    assert_equal_weights(parameters(g), parameters(pair.generators["G"]), 1e-3)


@pytest.mark.parametrize("lambda_d", [0.5, 1.0])
def test_step_D_is_eq_2(lambda_d):
    # Adam's first steps hide a factor on the loss, except through its epsilon: plain gradients are compared, too.
    pair, _ = teacher_and_student(lambda_d=lambda_d)
    g, d = copy.deepcopy(pair.generators["G"]), copy.deepcopy(pair.discriminators["D"]).requires_grad_(True)
    optimizer = adam(d.parameters(), 3e-3, (0.5, 0.999))
    for seed in (1, 2, 3):
        data = batch(seed)
        got = pair.step_D(pair.generate(data))
        with torch.no_grad():
            expected_fake, _ = unet(g, data["A"])
        logits_real, _ = patch(d, torch.cat([data["A"], data["B"]], 1))
        logits_fake, _ = patch(d, torch.cat([data["A"], expected_fake], 1))
        optimizer.zero_grad()
        (lambda_d * (hinge_real(logits_real) + hinge_fake(logits_fake))).backward()
        if seed == 1:
            for name, parameter in pair.discriminators["D"].named_parameters():
                expected = d.get_parameter(name).grad
                torch.testing.assert_close(parameter.grad, expected, rtol=1e-3, atol=1e-5 + 1e-3 * expected.abs().max().item())
        optimizer.step()
        assert set(got) == {"D_real", "D_fake"}
        assert got["D_real"].item() == pytest.approx(hinge_real(logits_real).item(), rel=1e-3)
        assert got["D_fake"].item() == pytest.approx(hinge_fake(logits_fake).item(), rel=1e-3)
    assert_equal_weights(parameters(d), parameters(pair.discriminators["D"]), 3e-3)


def teacher_output(teacher, data):
    fake = teacher.generate(data)
    return TeacherOutput(fake, teacher.discriminate(fake), NO_OUTPUT)


@pytest.mark.parametrize("weights", [{}, {"gamma_m": 3.0, "gamma_t": 0.0}, {"gamma_m": 0.0, "gamma_t": 500.0}])
def test_step_G_distilled_is_eq_1_the_task_loss_and_eq_10(weights):
    teacher, student = teacher_and_student(**weights)
    recipe = student.recipe
    g_t, d_t, g, d, f = map(
        copy.deepcopy,
        (
            teacher.generators["G"],
            teacher.discriminators["D"],
            student.generators["G"],
            student.discriminators["D"],
            student.projections["G"],
        ),
    )
    optimizer = adam([*g.parameters(), *f.parameters()], 1e-3, (0.5, 0.999))
    for seed in (1, 2):
        data = batch(seed)
        of_teacher = teacher_output(teacher, data)
        fake = student.generate(data)
        got = student.step_G_distilled(
            fake, student.discriminate(fake), dataclasses.replace(of_teacher, on_student=teacher.discriminate(fake))
        )

        with torch.no_grad():
            fake_t, t_features = unet(g_t, data["A"])
            _, d_features_t = patch(d_t, torch.cat([data["A"], fake_t], 1))
        expected_fake, s_features = unet(g, data["A"])
        logits, _ = patch(d, torch.cat([data["A"], expected_fake], 1))
        _, d_features_s = patch(d_t, torch.cat([data["A"], expected_fake], 1))
        mapped = [nn.functional.conv2d(s_features[path], weight) for path, weight in zip(TAPS_G, f.parameters(), strict=True)]
        expected = {
            "G": -logits.mean(),
            "L1": 100 * (expected_fake - data["B"]).abs().mean(),
            "distill_G": distance(mapped, [t_features[path] for path in TAPS_G], recipe.gamma_m, recipe.gamma_t),
            "distill_D": distance([d_features_s[p] for p in TAPS_D], [d_features_t[p] for p in TAPS_D], recipe.gamma_m, recipe.gamma_t),
        }
        optimizer.zero_grad()
        sum(expected.values()).backward()
        if seed == 1:
            for expected_network, network in ((g, student.generators["G"]), (f, student.projections["G"])):
                for name, parameter in network.named_parameters():
                    gradient = expected_network.get_parameter(name).grad
                    torch.testing.assert_close(parameter.grad, gradient, rtol=1e-2, atol=1e-4 + 1e-3 * gradient.abs().max().item())
        optimizer.step()
        assert set(got) == set(expected)
        for term, value in expected.items():
            assert got[term].item() == pytest.approx(value.item(), rel=2e-3, abs=1e-4), term
    assert_equal_weights(parameters(g), parameters(student.generators["G"]), 1e-3)
    assert_equal_weights(parameters(f), parameters(student.projections["G"]), 1e-3)


@pytest.mark.parametrize(("lambda_d", "target"), [(0.5, 0.05), (0.5, 5.0), (1.0, 0.3)])
def test_step_alpha_is_eq_8(lambda_d, target):
    teacher, student = teacher_and_student(lambda_d=lambda_d)
    smoothed = SmoothedTarget()
    smoothed.update(torch.tensor(target), 1, 10)
    g, d = copy.deepcopy(student.generators["G"]), copy.deepcopy(student.discriminators["D"])
    d.requires_grad_(True)
    alphas = [module.alpha for module in d.modules() if isinstance(module, ChannelGate)]
    optimizer = adam(alphas, 0.2, (0.9, 0.999))
    for seed in (1, 2, 3):
        data = batch(seed)
        with torch.no_grad():
            fake = student.generate(data)
            expected_fake, _ = unet(g, data["A"])
        got = student.step_alpha(fake, {"D": smoothed})
        logits_real, _ = patch(d, torch.cat([data["A"], data["B"]], 1))
        logits_fake, _ = patch(d, torch.cat([data["A"], expected_fake], 1))
        loss_g, loss_d_fake = -logits_fake.mean(), hinge_fake(logits_fake)
        expected = lambda_d * (hinge_real(logits_real) + loss_d_fake) + abs(abs(loss_g - loss_d_fake) - target)
        optimizer.zero_grad()
        expected.backward()
        for expected_alpha, alpha in zip(alphas, student.alphas, strict=True):
            torch.testing.assert_close(alpha.grad, expected_alpha.grad, rtol=1e-2, atol=1e-5)
        optimizer.step()
        for alpha in alphas:
            alpha.data = torch.tensor([min(1.0, max(0.0, a)) for a in alpha.tolist()])
        assert got.keys() == {"arch"} and not got["arch"].requires_grad
        assert got["arch"].item() == pytest.approx(expected.item(), rel=1e-3)
    for expected_alpha, alpha in zip(alphas, student.alphas, strict=True):
        torch.testing.assert_close(alpha, expected_alpha, rtol=0, atol=0.02)


def test_imbalances_are_those_of_the_adversarial_losses():
    teacher, _ = teacher_and_student()
    output = teacher.discriminate(teacher.generate(batch(1)))
    got = teacher.imbalances(output)
    logits = output.logits["D"].detach()
    assert got.keys() == {"D"} and not got["D"].requires_grad
    assert got["D"].item() == pytest.approx(abs(-logits.mean() - hinge_fake(logits)).item(), rel=1e-5)


def test_each_step_trains_its_own_weights_and_nothing_else():
    # Not hinge: inside its margin, the two terms of Eq. 2 cancel on the last bias.
    teacher, student = teacher_and_student(gan_mode="lsgan")
    data = batch(1)
    of_teacher = teacher_output(teacher, data)
    target = SmoothedTarget()
    for pair, name, step, expected in [
        (teacher, "step_G", lambda: teacher.step_G(of_teacher.fake, of_teacher.output), {"G"}),
        (teacher, "step_D", lambda: teacher.step_D(teacher.generate(data)), {"D"}),
        (student, "step_G_distilled", lambda: step_G_distilled(teacher, student, data), {"G", "f"}),
        (student, "step_D", lambda: student.step_D(student.generate(data)), {"D"}),
        (student, "step_alpha", lambda: student.step_alpha(student.generate(data), {"D": target}), {"alpha"}),
    ]:
        other = student if pair is teacher else teacher
        before, others = weights_of(pair), weights_of(other)
        step()
        assert changed(before, pair) == expected, name
        assert changed(others, other) == set(), name
    # Every single tensor that should change has changed.
    after = weights_of(student)
    initial = weights_of(teacher_and_student(gan_mode="lsgan")[1])
    for part in ("G", "D", "alpha", "f"):
        assert all(not torch.equal(after[part][name], initial[part][name]) for name in after[part]), part


def step_G_distilled(teacher, student, data):
    of_teacher = teacher_output(teacher, data)
    fake = student.generate(data)
    return student.step_G_distilled(
        fake, student.discriminate(fake), dataclasses.replace(of_teacher, on_student=teacher.discriminate(fake))
    )


@pytest.mark.parametrize("order", ["GD", "DG"])
def test_the_gradient_through_the_teachers_discriminator_reaches_only_the_students_generator(order):
    teacher, student = teacher_and_student()
    data = batch(3)
    of_teacher = teacher_output(teacher, data)
    for network in (*teacher.generators.values(), *teacher.discriminators.values()):
        network.zero_grad(set_to_none=True)
    student.discriminators["D"].zero_grad(set_to_none=True)
    fake = student.generate(data)
    if order == "DG":
        student.step_D(fake)
        student.discriminators["D"].zero_grad(set_to_none=True)
    output, teacher_on_student = student.discriminate(fake), teacher.discriminate(fake)
    before = weights_of(teacher)
    student.step_G_distilled(fake, output, dataclasses.replace(of_teacher, on_student=teacher_on_student))
    assert changed(before, teacher) == set()
    for network in (*teacher.generators.values(), *teacher.discriminators.values(), *student.discriminators.values()):
        assert all(parameter.grad is None for parameter in network.parameters())
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in student.projections["G"].parameters())


def test_distillation_through_the_discriminator_alone_trains_the_generator():
    # Eq. 9 with D^T(G^S(z)) detached would leave no gradient here.
    teacher, student = teacher_and_student()
    fake = student.generate(batch(1))
    teacher_on_student = teacher.discriminate(fake)
    assert set(teacher_on_student.features["D"]) == {"conv2.3", "conv4.3"}
    sum(feature.square().sum() for feature in teacher_on_student.features["D"].values()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for n, p in student.generators["G"].named_parameters() if "up1" in n)
    assert all(p.grad is None for p in teacher.discriminators["D"].parameters())


def test_the_teachers_discriminator_has_the_same_weights_for_both_pairs():
    teacher, student = teacher_and_student()
    fake = student.generate(batch(1))
    images = fake.pairs["D"].fake
    expected, features = patch(copy.deepcopy(teacher.discriminators["D"]), images)
    teacher_on_student = teacher.discriminate(fake)
    torch.testing.assert_close(teacher_on_student.logits["D"], expected)
    torch.testing.assert_close(teacher_on_student.features["D"]["conv2.3"], features["conv2"])


def test_step_alpha_changes_nothing_else_except_running_statistics():
    teacher, student = teacher_and_student()
    networks = [*student.generators.values(), *student.discriminators.values(), *student.projections.values(), *teacher.generators.values()]
    with torch.no_grad():
        fake = student.generate(batch(2))
    before = snapshot(*networks)
    student.step_alpha(fake, {"D": SmoothedTarget()})
    for old, new in zip(before, snapshot(*networks), strict=True):
        for name, value in old.items():
            if not name.endswith("alpha") and "running" not in name and "tracked" not in name:
                assert torch.equal(value, new[name]), name


def test_retention_factors_are_clamped():
    _, student = teacher_and_student(lr_alpha=5.0)
    for seed in range(3):
        with torch.no_grad():
            fake = student.generate(batch(seed))
        student.step_alpha(fake, {"D": SmoothedTarget()})
        values = torch.cat([alpha.detach() for alpha in student.alphas])
        assert values.min() >= 0 and values.max() <= 1
    assert {0.0, 1.0} <= set(values.tolist())


def test_active_share():
    _, student = teacher_and_student()
    with torch.no_grad():
        student.alphas[0].copy_(torch.tensor([0.5, 0.49, 0.9, 0.0]))
    got = student.active_share()
    assert set(got) == {f"D.conv{k}.2" for k in range(1, 5)}
    assert got["D.conv1.2"].item() == 0.5


def test_every_parameter_is_in_exactly_one_optimizer_once():
    teacher, student = teacher_and_student()
    for pair, optimizers in (
        (teacher, [teacher.optimizer_G, teacher.optimizer_D]),
        (student, [student.optimizer_G, student.optimizer_D, student.optimizer_alpha]),
    ):
        owned = [id(p) for optimizer in optimizers for group in optimizer.optimizer.param_groups for p in group["params"]]
        networks = [*pair.generators.values(), *pair.discriminators.values()]
        networks += list(pair.projections.values()) if isinstance(pair, StudentPair) else []
        assert len(owned) == len(set(owned))
        assert set(owned) == {id(p) for network in networks for p in network.parameters()}
    ids = lambda optimizer: {id(p) for group in optimizer.optimizer.param_groups for p in group["params"]}  # noqa: E731
    assert ids(student.optimizer_alpha) == {id(alpha) for alpha in student.alphas} and len(student.alphas) == 4
    assert ids(student.optimizer_G) == {
        id(p) for network in (student.generators["G"], student.projections["G"]) for p in network.parameters()
    }


def test_optimizers_have_the_recipes_numbers():
    _, student = teacher_and_student(lr_g=1e-3, lr_d=2e-3, lr_alpha=3e-3, beta1=0.25, beta2=0.9)
    for optimizer, lr, betas in (
        (student.optimizer_G, 1e-3, (0.25, 0.9)),
        (student.optimizer_D, 2e-3, (0.25, 0.9)),
        (student.optimizer_alpha, 3e-3, (0.9, 0.999)),
    ):
        assert isinstance(optimizer.optimizer, torch.optim.Adam)
        for group in optimizer.optimizer.param_groups:
            assert (group["lr"], tuple(group["betas"]), group["weight_decay"], group["eps"]) == (pytest.approx(lr), betas, 0, 1e-8)


@pytest.mark.parametrize("index", [0, 1], ids=["teacher", "student"])
def test_begin_sets_the_learning_rates(index):
    pair = teacher_and_student(epochs=10, decay_fraction=0.5, alpha_decay_epochs=3, lr_g=1e-3, lr_d=2e-3, lr_alpha=1.0)[index]
    for epoch in (1, 5, 6, 10, 2):
        pair.begin(epoch)
        factor = 1.0 if epoch <= 5 else 1 - (epoch - 5) / 6
        assert pair.optimizer_G.optimizer.param_groups[0]["lr"] == pytest.approx(1e-3 * factor)
        assert pair.optimizer_D.optimizer.param_groups[0]["lr"] == pytest.approx(2e-3 * factor)
        if index:
            assert pair.optimizer_alpha.optimizer.param_groups[0]["lr"] == pytest.approx(0.1 ** ((epoch - 1) // 3))


def test_every_step_runs_each_network_as_often_as_it_needs():
    teacher, student = teacher_and_student()
    data = batch(1)
    nets = (teacher.generators["G"], teacher.discriminators["D"], student.generators["G"], student.discriminators["D"])
    with counting(*nets) as counts:

        def passes_of(step):
            counts[:] = [0] * 4
            return step(), tuple(counts)

        fake_t, passes = passes_of(lambda: teacher.generate(data))
        assert passes == (1, 0, 0, 0)
        output_t, passes = passes_of(lambda: teacher.discriminate(fake_t))
        assert passes == (0, 1, 0, 0)
        assert passes_of(lambda: teacher.step_D(fake_t))[1] == (0, 2, 0, 0)
        assert passes_of(lambda: teacher.imbalances(output_t))[1] == (0, 0, 0, 0)
        of_teacher = TeacherOutput(fake_t, teacher.discriminate(fake_t), NO_OUTPUT)
        fake, passes = passes_of(lambda: student.generate(data))
        assert passes == (0, 0, 1, 0)
        output, passes = passes_of(lambda: student.discriminate(fake))
        assert passes == (0, 0, 0, 1)
        teacher_on_student, passes = passes_of(lambda: teacher.discriminate(fake))
        assert passes == (0, 1, 0, 0)
        of_teacher = dataclasses.replace(of_teacher, on_student=teacher_on_student)
        assert passes_of(lambda: student.step_G_distilled(fake, output, of_teacher))[1] == (0, 0, 0, 0)
        assert passes_of(lambda: student.step_D(fake))[1] == (0, 0, 0, 2)
        assert passes_of(lambda: student.step_alpha(student.generate(data), {"D": SmoothedTarget()}))[1] == (0, 0, 1, 2)
    teacher.step_G(of_teacher.fake, of_teacher.output)


def test_a_frozen_teacher_never_changes_and_still_distils():
    teacher, student = teacher_and_student(FrozenPair)
    networks = [*teacher.generators.values(), *teacher.discriminators.values()]
    before = snapshot(*networks)
    for epoch in (1, 2):
        teacher.begin(epoch)
        fake = teacher.generate(batch(epoch))
        assert not fake.samples["fake"].requires_grad and not fake.pairs["D"].fake.requires_grad
        assert teacher.step_D(fake) == {}
        of_teacher = TeacherOutput(fake, teacher.discriminate(fake), NO_OUTPUT)
        assert teacher.step_G(fake, of_teacher.output) == {}
        assert teacher.imbalances(of_teacher.output)["D"].isfinite()
        own = student.generate(batch(epoch))
        teacher_on_student = teacher.discriminate(own)
        student.generators["G"].zero_grad(set_to_none=True)
        losses = student.step_G_distilled(own, student.discriminate(own), dataclasses.replace(of_teacher, on_student=teacher_on_student))
        assert losses["distill_G"] > 0 and losses["distill_D"] > 0
        assert all(p.grad.abs().sum() > 0 for p in student.generators["G"].get_submodule("up1").parameters())
    for old, new in zip(before, snapshot(*networks), strict=True):
        assert equal(old, new)
    assert all(p.grad is None for network in networks for p in network.parameters())


def test_a_frozen_teacher_never_changes_even_before_its_first_epoch():
    architecture = architecture_with()
    networks = architecture.build_generator(architecture.full_widths(4)), architecture.build_discriminator()
    before = snapshot(*networks)
    teacher = FrozenPair(architecture, {"G": networks[0]}, {"D": networks[1]}, CPU)
    teacher.discriminate(teacher.generate(batch(1)))
    for old, new in zip(before, snapshot(*networks), strict=True):
        assert equal(old, new)


@pytest.mark.parametrize(
    ("norm", "kind"),
    [
        (lambda: nn.BatchNorm2d(4), nn.BatchNorm2d),
        (lambda: nn.Sequential(nn.Flatten(2), nn.BatchNorm1d(4), nn.Unflatten(2, (16, 16))), nn.BatchNorm1d),
        (lambda: nn.InstanceNorm2d(4, affine=True, track_running_stats=True), nn.InstanceNorm2d),
    ],
)
def test_the_discriminators_of_a_frozen_pair_normalise_by_the_batch(norm, kind):
    architecture = architecture_with()
    discriminator = nn.Sequential(nn.Conv2d(6, 4, 4, stride=2, padding=1), norm(), nn.Conv2d(4, 1, 4))
    (module,) = (module for module in discriminator.modules() if isinstance(module, kind))
    with torch.no_grad():
        module.running_mean.fill_(0.7)
        module.running_var.fill_(3.0)
    trained, given = copy.deepcopy(discriminator).train(), copy.deepcopy(discriminator).eval()
    before = snapshot(discriminator)
    teacher = FrozenPair(architecture, {"G": architecture.build_generator(architecture.full_widths(4))}, {"D": discriminator}, CPU)
    fake = teacher.generate(batch(1))
    torch.testing.assert_close(teacher.discriminate(fake).logits["D"], trained(fake.pairs["D"].fake), rtol=1e-5, atol=1e-6)
    assert all(equal(old, new) for old, new in zip(before, snapshot(discriminator), strict=True))
    final, images = teacher.final_discriminators["D"].eval(), torch.randn(2, 6, 32, 32)
    torch.testing.assert_close(final(images), given(images), rtol=0, atol=0)
    (restored,) = (module for module in final.modules() if isinstance(module, kind))
    assert (restored.track_running_stats, restored.momentum) == (True, 0.1)


def test_pairs_train_in_train_mode():
    teacher, student = teacher_and_student()
    for pair in (teacher, student):
        assert all(m.training for network in (*pair.generators.values(), *pair.discriminators.values()) for m in network.modules())


def test_without_distillation_layers_only_the_other_losses_are_left():
    architecture = architecture_with()
    widths = architecture.full_widths(4)
    gated = architecture.build_discriminator(lambda channels: ChannelGate(channels, 0.5))
    distillation = Distillation(Distillers(architecture.recipe), {"gcc": {}}, NO_LAYERS, {})
    student = StudentPair(architecture, {"G": architecture.build_generator(widths)}, {"D": gated}, CPU, {}, distillation, 0.002)
    teacher = GANPair(architecture, {"G": architecture.build_generator(widths)}, {"D": architecture.build_discriminator()}, CPU)
    assert set(step_G_distilled(teacher, student, batch(1))) == {"G", "L1"}


def test_wgan_penalty_is_weighted_and_reaches_the_discriminator():
    pair, _ = teacher_and_student(gan_mode="wgangp", lambda_gp=7.0, lambda_d=1.0, norm="instance")
    network = copy.deepcopy(pair.discriminators["D"]).requires_grad_(True)
    data = batch(1)
    # Fake and real images are equal, so that the penalty is evaluated at one point for any random number.
    fake = pair.generate(data)
    real = fake.pairs["D"].real
    fake = dataclasses.replace(fake, pairs={"D": dataclasses.replace(fake.pairs["D"], fake=real.clone())})
    got = pair.step_D(fake)
    point = real.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(network(point).sum(), point)
    expected = sum((sample.square().sum().sqrt().item() - 1) ** 2 for sample in gradient) / len(gradient)
    assert got["D_penalty"].item() == pytest.approx(7 * expected, rel=1e-3)
    assert got["D_real"].item() == pytest.approx(-got["D_fake"].item(), rel=1e-5)


def test_the_wgan_penalty_is_of_the_fakes_that_the_loss_is_of(monkeypatch):
    pair, _ = teacher_and_student(gan_mode="wgangp", norm="instance", pool_size=2)
    penalised, judged = [], []
    monkeypatch.setattr("gcc.training.pair.gradient_penalty", lambda network, real, fake: penalised.append(fake) or real.new_zeros(()))
    for seed in range(8):
        fake = pair.generate(batch(seed))
        handle = pair.discriminators["D"].register_forward_hook(lambda module, inputs, output: judged.append(inputs[0].detach()))
        pair.step_D(fake)
        handle.remove()
    assert all(torch.equal(fake, of_loss) for fake, of_loss in zip(penalised, judged[1::2], strict=True))


def test_bfloat16_forward_keeps_weights_and_losses_in_float32():
    teacher, student = teacher_and_student(execution=ExecutionConfig(torch.device("cpu"), torch.bfloat16))
    losses = step_G_distilled(teacher, student, batch(1))
    losses |= student.step_D(student.generate(batch(1)))
    losses |= student.step_alpha(student.generate(batch(1)), {"D": SmoothedTarget()})
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
    for network in (*student.generators.values(), *student.discriminators.values(), *student.projections.values()):
        assert all(p.dtype == torch.float32 and p.isfinite().all() for p in network.parameters())


def test_penalise_is_called_once_per_generator_step_and_its_gradient_counts():
    architecture = architecture_with()
    calls = []
    generator = architecture.build_generator(architecture.full_widths(4))
    weight = generator.get_submodule("down1").conv.weight

    def penalise():
        calls.append(weight.grad.abs().sum().item())
        weight.grad.copy_(torch.ones_like(weight))

    pair = GANPair(architecture, {"G": generator}, {"D": architecture.build_discriminator()}, CPU, penalise=penalise)
    pair.begin(1)
    before = weight.detach().clone()
    fake = pair.generate(batch(1))
    pair.step_D(fake)
    assert calls == []
    pair.step_G(fake, pair.discriminate(fake))
    assert len(calls) == 1 and calls[0] > 0
    torch.testing.assert_close(weight.detach(), before - 1e-3, rtol=0, atol=1e-6)


def test_the_weight_of_the_adversarial_loss_affects_only_the_generator():
    (unweighted, _), (weighted, _) = teacher_and_student(), teacher_and_student(lambda_gan=0.25)
    losses = []
    for pair in (unweighted, weighted):
        fake = pair.generate(batch(0))
        output = pair.discriminate(fake)
        imbalance = pair.imbalances(output)["D"]
        losses.append((pair.step_G(fake, output), imbalance))
    (first, imbalance), (second, same_imbalance) = losses
    assert float(second["G"]) == pytest.approx(0.25 * float(first["G"])) and second["L1"] == first["L1"] and imbalance == same_imbalance


def test_a_discriminator_trains_on_its_pool_and_the_imbalance_reads_new_images():
    _, student = teacher_and_student(pool_size=2)
    first = student.generate(batch(0))
    student.step_D(first, student.discriminate(first))
    assert torch.equal(student.pools["D"].state_dict()["images"], first.pairs["D"].fake)
    inputs_of_D = []
    student.discriminators["D"].register_forward_hook(lambda module, inputs, output: inputs_of_D.append(inputs[0].detach()))
    fakes = [student.generate(batch(seed)) for seed in range(1, 9)]
    for fake in fakes:
        output = student.discriminate(fake)
        assert torch.equal(inputs_of_D[-1], fake.pairs["D"].fake)
        student.step_D(fake, output)
        assert torch.equal(inputs_of_D[-2], fake.pairs["D"].real)
    new = [
        any(torch.equal(image, own) for own in fake.pairs["D"].fake)
        for fake, images in zip(fakes, inputs_of_D[2::3], strict=True)
        for image in images
    ]
    assert set(new) == {True, False}


def test_pretraining_updates_the_generators_with_its_own_losses_only(monkeypatch):
    teacher, _ = teacher_and_student()
    monkeypatch.setattr(
        Pix2Pix, "pretraining_losses", lambda self, batch, samples: {"pixel": (samples["fake"] - batch["B"]).square().mean()}
    )
    expected = copy.deepcopy(teacher.generators["G"])
    before = weights_of(teacher)
    fake = teacher.generate(batch(0))
    losses = teacher.pretrain_step(fake)
    assert changed(before, teacher) == {"G"} and losses.keys() == {"pixel"}
    optimizer = torch.optim.Adam(expected.parameters(), lr=1e-3, betas=(0.5, 0.999))
    loss = (expected(batch(0)["A"]) - batch(0)["B"]).square().mean()
    loss.backward()
    optimizer.step()
    assert float(losses["pixel"]) == pytest.approx(loss.item())
    for actual, reference in zip(teacher.generators["G"].parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(actual, reference)
    assert teacher.optimizer_G.optimizer.state
    teacher.optimizer_G.reset_state()
    assert not teacher.optimizer_G.optimizer.state


def test_gradients_are_those_of_eq_1_and_the_task_loss_batch_by_batch():
    pair, _ = teacher_and_student()
    g, d = copy.deepcopy(pair.generators["G"]), copy.deepcopy(pair.discriminators["D"])
    before = weights_of(pair)
    gradients_of_batches = []
    for _ in pair.gradients([batch(1), batch(2)]):
        gradients_of_batches.append({name: parameter.grad.clone() for name, parameter in pair.generators["G"].named_parameters()})
    assert not changed(before, pair) and len(gradients_of_batches) == 2
    for seed, gradients in zip((1, 2), gradients_of_batches, strict=True):
        data = batch(seed)
        expected_fake, _ = unet(g, data["A"])
        logits, _ = patch(d, torch.cat([data["A"], expected_fake], 1))
        g.zero_grad()
        (-logits.mean() + 100 * (expected_fake - data["B"]).abs().mean()).backward()
        for name, parameter in g.named_parameters():
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-3, atol=1e-5 + 1e-3 * parameter.grad.abs().max().item())


def test_with_ema_decay_the_final_generators_are_the_moving_averages_of_every_step():
    teacher, student = teacher_and_student(ema_decay=0.5)
    before = {name: value.clone() for name, value in teacher.generators["G"].state_dict().items()}
    fake = teacher.generate(batch(0))
    teacher.step_G(fake, teacher.discriminate(fake))
    # The first step keeps min(0.5, 1 / 10) of the average.
    for name, value in teacher.generators["G"].state_dict().items():
        expected = 0.1 * before[name].double() + 0.9 * value.double() if value.is_floating_point() else value.double()
        torch.testing.assert_close(teacher.final_generators["G"].state_dict()[name].double(), expected, rtol=1e-5, atol=1e-6)
    assert student.final_generators["G"] is not student.generators["G"]
    frozen, _ = teacher_and_student(FrozenPair, ema_decay=0.5)
    assert frozen.final_generators == frozen.generators
