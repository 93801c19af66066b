"""What several processes do together in tests: called as `train_together.py TASK OUT SETTINGS` by `torchrun`."""

import atexit
import json
import os
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from gcc import Compressor, Teacher
from gcc.data import loader
from gcc.registry import ARCHITECTURES, DATASETS
from gcc.training import collapse
from gcc.training.checkpoint import Checkpoints
from gcc.training.loss_tree import flattened
from gcc.training.pairs import teacher_networks
from gcc.training.sync_batchnorm import synchronised
from gcc.utils.distributed import init_distributed
from tests.helpers.families import TINY

SIZES = {"train": 40, "val": 6, "test": 6}
"""Two steps in an epoch."""
PLAIN = {"pix2pix": {"dropout": 0.0}, "cyclegan": {"pool_size": 0}, "sagan": {}, "srgan": {}}
"""Settings with which any number of processes ends alike: without what is drawn for each process apart."""


def precise():
    """Train in double precision: from rounding alone ways would part, for Adam's first steps are as long for the smallest gradients."""
    torch.set_default_dtype(torch.float64)
    for module, name in ((loader, "default_collate"), (collapse, "load_samples")):
        setattr(module, name, _doubled(getattr(module, name)))


def _doubled(batches):
    return lambda *arguments: {key: value.double() for key, value in batches(*arguments).items()}


def small():
    for arch in ARCHITECTURES.names():
        DATASETS.load(ARCHITECTURES.load(arch).demo_source).sizes = SIZES


def begun(arch, **settings):
    return Compressor(Teacher.create(arch), **TINY[arch] | settings)


def state(run):
    """Return all parameters and buffers of a run's players, by name."""
    return {
        f"{name}.{kind}.{network}.{key}": value.detach().clone().contiguous()
        for name, player in run.pairs.items()
        for kind, networks in player.networks.items()
        for network, module in networks.items()
        for key, value in module.state_dict().items()
    }


def played(run, after=None):
    """Return the losses of each iteration; with `after`, of the first so many, and the last one's record."""
    losses = {}
    for step in run.steps():
        losses[f"{step.phase} {step.number}"] = {name: float(loss) for name, loss in flattened(step.losses).items()}
        if len(losses) == after:
            return losses, step
    return losses, step


def families(out):
    """Play each family to its end, and judge fresh generators on the held-out images twice, the second time with known real features."""
    for arch, plain in PLAIN.items():
        run = begun(arch, **plain)
        losses, _ = played(run)
        with torch.random.fork_rng():
            torch.manual_seed(1)
            generators, _ = teacher_networks(run.context, run.recipe.ngf, "teacher")
        figures = [run.context.test.evaluate(generators) for _ in range(2)]
        leave(out, arch, state(run), {"losses": losses, "widths": run.widths, "figures": figures, "told": run.context.test.protocols})


def whole(out, settings):
    """Play some families to their ends, with what is drawn for each process apart."""
    for arch, changed in settings.items():
        run = begun(arch, **changed)
        losses, _ = played(run)
        leave(out, arch, state(run), {"losses": losses})


def stopped(out, settings, after):
    """Stop some families after so many iterations, and leave their checkpoints."""
    for arch, changed in settings.items():
        run = begun(arch, **changed)
        _, step = played(run, after)
        snapshot = run.checkpoint(step)
        if run.context.ranks.is_main_process:
            Checkpoints(out / arch).save(snapshot)


def resumed(out, settings, checkpoints):
    """Let some families go on from their checkpoints."""
    for arch, changed in settings.items():
        run = begun(arch, **changed)
        torch.manual_seed(7)
        run.resume(Checkpoints(Path(checkpoints) / arch).newest())
        losses, _ = played(run)
        leave(out, arch, state(run), {"losses": losses})


def norms(out):
    """Let a batch norm take part in a gradient penalty, with each process's share of a batch."""
    ranks = init_distributed()
    images, weights = torch.rand(2, 8, 4, 3, 3, generator=torch.Generator().manual_seed(3))
    norm = synchronised(torch.nn.BatchNorm2d(4, momentum=0.3), ranks)
    for _ in range(2):
        share = ranks.shard(len(images))
        own = images[share].requires_grad_()
        made = norm(own)
        score = (made * weights[share]).square().mean()
        # Of all processes' scores together, and of their mean it is so many times smaller.
        (slope,) = torch.autograd.grad(score, own, create_graph=True)
        penalty = (slope / ranks.world).square().sum()
        norm.zero_grad()
        (score + ranks.world * penalty).backward()
    gradients = {name: parameter.grad for name, parameter in norm.named_parameters()}
    ranks.average_gradients(gradients.values())
    leave(out, "norm", {"made": made.detach(), "images": own.grad / ranks.world, **gradients, **dict(norm.named_buffers())}, {})


def objects(out):
    """Exchange what is not a single tensor."""
    ranks = init_distributed()
    sent = ranks.broadcast_object({"rank": ranks.rank, "none": None, "list": [0.1]})
    gathered = ranks.gather_object({"rank": ranks.rank, "nested": [{"ones": torch.ones(ranks.rank + 1)}, torch.empty(0)]})
    tensors = {str(state["rank"]): state["nested"][0]["ones"] for state in gathered}
    leave(out, "objects", tensors, {"sent": sent, "largest": ranks.all_reduce_max(ranks.rank, -ranks.rank)})


def leave(out, name, tensors, told):
    folder = out / str(init_distributed().rank)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(tensors, folder / f"{name}.safetensors")
    (folder / f"{name}.json").write_text(json.dumps(told))


def refuse_threads():
    """Fail where the group has left threads behind: they would abort a process that ends, but only now and then."""
    threads = [thread.read_text().strip() for thread in Path("/proc/self/task").glob("*/comm")]
    if left := [name for name in threads if "gloo" in name]:
        print("threads outlive the group:", *left, file=sys.stderr, flush=True)
        os._exit(1)


if __name__ == "__main__":
    # After what is registered later.
    atexit.register(refuse_threads)
    torch.set_num_threads(1)
    small()
    precise()
    task, out, settings = sys.argv[1:]
    globals()[task](Path(out), **json.loads(settings))
