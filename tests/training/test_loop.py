"""What a run refuses before it trains."""

import gc
import weakref

import pytest
import torch

from gcc import Compressor, Teacher
from gcc.errors import GccError, RecipeWarning
from gcc.training.teacher_trainer import Trainer
from tests.helpers.families import TINY


@pytest.mark.parametrize("kind", [Compressor, Trainer])
@pytest.mark.parametrize("arch", sorted(TINY.keys() - {"srgan"}))
def test_a_stage_that_the_family_lacks_is_refused(kind, arch):
    run = kind(Teacher.create(arch), **TINY[arch] | {"pretrain_epochs": 1})
    with pytest.raises(GccError, match=f"{arch} has no stage before adversarial training: leave out pretrain_epochs"):
        run.check()


def test_there_is_no_result_before_training_is_over():
    run = Compressor(Teacher.create("pix2pix"), **TINY["pix2pix"])
    with pytest.raises(GccError, match=r"nothing has been trained yet: call `run\(\)` first"):
        run.result()
    phases = set()
    for step in run.steps():
        if step.phase not in phases:
            phases.add(step.phase)
            with pytest.raises(GccError, match="training is not over"):
                run.result()
            networks = [network for pair in run.pairs.values() for network in (*pair.generators.values(), *pair.discriminators.values())]
            assert all(network.training for network in networks)
    assert phases == {"search", "train"} and run.result().student


def test_a_run_trains_once():
    run = Trainer(Teacher.create("pix2pix"), **TINY["pix2pix"] | {"epochs": 1})
    run.run()
    with pytest.raises(GccError, match="this Trainer has trained already: make a new one to train again"):
        run.run()


@pytest.mark.slow
def test_a_run_that_nothing_refers_to_is_freed_at_once():
    def traces():
        run = Compressor(Teacher.create("pix2pix"), **TINY["pix2pix"] | {"evaluators": "l1"})
        result = run.run()
        return [weakref.ref(one) for one in (run, run.context, run.student, run.student.generators["G"], run.teacher, result)]

    # What the first run imports keeps its frames.
    traces()
    gc.collect()
    gc.disable()
    try:
        assert [trace() for trace in traces()] == [None] * 6
    finally:
        gc.enable()


def test_a_teacher_that_stays_as_it_is_is_not_trained(tmp_path):
    run = Trainer(Teacher.create("pix2pix"), **TINY["pix2pix"] | {"epochs": 1})
    for _ in run.steps():
        pass
    run.result().save(tmp_path)
    with pytest.raises(GccError, match="train_teacher = false leaves nothing to train here: give `train_teacher=True`"):
        Trainer(Teacher.load(tmp_path / "teacher"), **TINY["pix2pix"], train_teacher=False)


@pytest.mark.parametrize(
    ("batch_size", "text"), [(40, "batches of 40"), (50, "batches of 40 instead of 50, because there are only 40 training samples")]
)
def test_the_plan_says_if_the_dataset_is_smaller_than_a_batch(batch_size, text, few_pairs):
    run = Trainer(Teacher.create("pix2pix"), few_pairs, **TINY["pix2pix"] | {"batch_size": batch_size})
    assert run.plan()["training"].endswith(f"epochs of 1 step, {text}")


def test_what_the_plan_warns_of_is_a_warning_of_python_as_the_run_starts():
    run = Compressor(Teacher.create("pix2pix"), **TINY["pix2pix"] | {"lr_alpha": 1e-5})
    seen = []
    with pytest.warns(RecipeWarning, match="no channel of the student's discriminator will switch off: .*; train longer") as warned:
        run.run(seen.append)
    assert [str(one.message) for one in warned if one.category is RecipeWarning] == [run.plan()["warning"]] and seen
    assert warned[0].filename == __file__


def test_a_run_leaves_the_callers_random_numbers():
    drawn = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        Trainer(Teacher.create("pix2pix"), **TINY["pix2pix"] | {"epochs": 1}).run()
        drawn.append(torch.rand(2))
        torch.manual_seed(seed)
        assert torch.equal(drawn[-1], torch.rand(2))
    assert not torch.equal(*drawn)
