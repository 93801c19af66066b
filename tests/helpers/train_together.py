"""Tasks that several ranks run together in tests. Call it as `train_together.py TASK OUT SETTINGS` with `torchrun`."""

import atexit
import json
import os
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from gcc import Compressor, Teacher
from gcc.data import loader
from gcc.deploy.latency import Latency
from gcc.errors import BudgetError, RunError
from gcc.evaluation import small_segmenter
from gcc.pruning import search
from gcc.training import collapse, measure
from gcc.training.build_pairs import teacher_networks
from gcc.training.checkpoint import Checkpoints
from gcc.training.loss_tree import flattened
from gcc.training.sync_batchnorm import synchronised
from gcc.utils.distributed import init_distributed
from tests.helpers.families import TINY, demo_data

SHARED = {"pix2pix": {"dropout": 0.0}, "cyclegan": {"pool_size": 0}, "sagan": {}, "srgan": {}}
"""Settings with which any number of ranks ends alike: nothing is drawn for each rank separately."""

SINGLE_PRECISION = {"segmenters", "latencies"}
"""Tasks that do not compare what several ranks train."""


def precise():
    """Train in double precision. Adam's first steps amplify rounding errors, since they are as long for the smallest gradients."""
    torch.set_default_dtype(torch.float64)
    for module, name in ((loader, "default_collate"), (collapse, "load_samples")):
        setattr(module, name, _doubled(getattr(module, name)))


def _doubled(batches):
    return lambda *arguments: {key: value.double() for key, value in batches(*arguments).items()}


def new_run(arch, **settings):
    return Compressor(Teacher.create(arch), **TINY[arch] | settings)


def state(run):
    """Return all parameters and buffers of a run's pairs, by name."""
    return {
        f"{role}.{kind}.{name}.{key}": value.detach().clone().contiguous()
        for role, pair in run.pairs.items()
        for kind, networks in pair.networks.items()
        for name, network in networks.items()
        for key, value in network.state_dict().items()
    }


def train(run, after=None):
    """Train to the end, or for `after` steps, and return the losses of each step and the last step."""
    losses = {}
    for step in run.steps():
        losses[f"{step.phase} {step.number}"] = {name: float(loss) for name, loss in flattened(step.losses).items()}
        if len(losses) == after:
            return losses, step
    return losses, step


def families(out):
    """Train each family, and evaluate new generators on the test split twice, the second time with cached features of real images."""
    for arch, settings in SHARED.items():
        run = new_run(arch, **settings)
        losses, _ = train(run)
        with torch.random.fork_rng():
            torch.manual_seed(1)
            generators, _ = teacher_networks(run.context, run.recipe.ngf, "teacher")
        metrics = [run.context.test.evaluate(generators) for _ in range(2)]
        save(out, arch, state(run), {"losses": losses, "widths": run.widths, "metrics": metrics, "protocols": run.context.test.protocols})


def whole(out, settings):
    """Train some families to the end, with random numbers that differ between ranks."""
    for arch, changed in settings.items():
        run = new_run(arch, **changed)
        losses, _ = train(run)
        save(out, arch, state(run), {"losses": losses})


def stopped(out, settings, after):
    """Stop some families after `after` steps, and save their checkpoints."""
    for arch, changed in settings.items():
        run = new_run(arch, **changed)
        _, step = train(run, after)
        checkpoint = run.checkpoint(step)
        if run.context.ranks.is_main_process:
            Checkpoints(out / arch).save(checkpoint)


def resumed(out, settings, checkpoints):
    """Resume some families from their checkpoints."""
    for arch, changed in settings.items():
        run = new_run(arch, **changed)
        torch.manual_seed(7)
        run.resume(Checkpoints(Path(checkpoints) / arch).newest())
        losses, _ = train(run)
        save(out, arch, state(run), {"losses": losses})


def norms(out):
    """Run a batch norm under a gradient penalty, with each rank's share of a batch."""
    ranks = init_distributed()
    images, weights = torch.rand(2, 8, 4, 3, 3, generator=torch.Generator().manual_seed(3))
    norm = synchronised(torch.nn.BatchNorm2d(4, momentum=0.3), ranks)
    for _ in range(2):
        share = ranks.shard(len(images))
        own = images[share].requires_grad_()
        output = norm(own)
        score = (output * weights[share]).square().mean()
        # The gradient of the sum of all ranks' scores; that of their mean is smaller by the number of ranks.
        (gradient,) = torch.autograd.grad(score, own, create_graph=True)
        penalty = (gradient / ranks.world).square().sum()
        norm.zero_grad()
        (score + ranks.world * penalty).backward()
    gradients = {name: parameter.grad for name, parameter in norm.named_parameters()}
    ranks.average_gradients(gradients.values())
    save(out, "norm", {"output": output.detach(), "images": own.grad / ranks.world, **gradients, **dict(norm.named_buffers())}, {})


def objects(out):
    """Broadcast and gather objects that are not single tensors."""
    ranks = init_distributed()
    sent = ranks.broadcast_object({"rank": ranks.rank, "none": None, "list": [0.1]})
    gathered = ranks.gather_object({"rank": ranks.rank, "nested": [{"ones": torch.ones(ranks.rank + 1)}, torch.empty(0)]})
    tensors = {str(state["rank"]): state["nested"][0]["ones"] for state in gathered}
    save(out, "objects", tensors, {"sent": sent, "largest": ranks.all_reduce_max(ranks.rank, -ranks.rank)})


def segmenters(out):
    """Evaluate real photographs by a segmenter that trains on the real pairs."""
    small_segmenter.STEPS, trained = 3, []
    train_segmenter = small_segmenter.train_segmenter
    small_segmenter.train_segmenter = lambda *arguments: trained.append(1) or train_segmenter(*arguments)
    run = new_run("pix2pix", evaluators="miou_small")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        generators, _ = teacher_networks(run.context, run.recipe.ngf, "teacher")
    metrics = [run.context.test.evaluate(generators) for _ in range(2)]
    (evaluator,) = run.context.evaluators.by_name.values()
    values = {"trained": len(trained), "metrics": metrics, "protocols": run.context.test.protocols}
    save(out, "segmenter", evaluator.segmenter.to_tensors(), values)


def failures(out):
    """Let the main process fail in work that the others wait for, and go on."""
    ranks, calls, messages = init_distributed(), [], []

    def fail():
        calls.append("function")
        raise ValueError("no room\nat line 3")

    for work in (lambda: ranks.compute_on_main_process(fail), lambda: first(ranks, fail, calls)):
        try:
            work()
        except (RunError, ValueError) as error:
            messages.append(f"{type(error).__name__}: {error}")
    # The processes still agree on what they send.
    value = ranks.compute_on_main_process(lambda: calls.append("value") or {"rank": ranks.rank})
    save(out, "failures", {}, {"messages": messages, "calls": calls, "value": value})


def latencies(out, budget):
    """Compress to a latency; the clocks of the ranks differ, and each notes what it times."""
    timed, rank = [], init_distributed().rank

    def measured(networks, *arguments):
        timed.append(len(networks))
        # A microsecond for every weight in the main process.
        return [Latency((1 + rank) * sum(weight.numel() for weight in network.parameters()) / 1e3, 0.0, "cpu", 1) for network in networks]

    search.measure_optimized = lambda network, *arguments: measured([network])[0]
    measure.measure_in_turns = measure.measure_optimized_in_turns = measured
    run = new_run("pix2pix", epochs=1, budget=budget)
    try:
        run.check()
        train(run)
        reported = {role: row["latency_ms"] for role, row in run.result().measurements()["G"].items()}
    except (BudgetError, RunError) as error:
        reported = str(error)
    save(out, "latencies", {}, {"timed": len(timed), "reported": reported, "widths": run.widths})


def first(ranks, fail, calls):
    with ranks.main_process_first():
        if ranks.is_main_process:
            fail()
        calls.append("second")


def save(out, name, tensors, values):
    folder = out / str(init_distributed().rank)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(tensors, folder / f"{name}.safetensors")
    (folder / f"{name}.json").write_text(json.dumps(values))


def refuse_threads():
    """Fail if threads of the process group are still running. They abort a process that ends, but only sometimes."""
    threads = [thread.read_text().strip() for thread in Path("/proc/self/task").glob("*/comm")]
    if left := [name for name in threads if "gloo" in name]:
        print("threads outlive the group:", *left, file=sys.stderr, flush=True)
        os._exit(1)


if __name__ == "__main__":
    # Handlers run in reverse order, so that this one runs last.
    atexit.register(refuse_threads)
    torch.set_num_threads(1)
    task, out, settings = sys.argv[1:]
    if task not in SINGLE_PRECISION:
        precise()
    with demo_data():
        globals()[task](Path(out), **json.loads(settings))
