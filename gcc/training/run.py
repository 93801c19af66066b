"""What every run has: an architecture bound to its recipe, data, a device, and the plain game of one pair."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gcc.artifacts.config import Role
from gcc.data.loader import Loader
from gcc.data.splits import DataSplits
from gcc.deploy.runtimes import require_runtime
from gcc.errors import GccError, RecipeError, RunError, TrainingError
from gcc.evaluation.collection import EvaluatorCollection, split_names
from gcc.evaluation.split import SplitEvaluation
from gcc.losses.layers import NO_LAYERS, DistillationLayers
from gcc.models.build import build_discriminators, build_generators, generator_on_meta
from gcc.models.modules import Widths, on_meta
from gcc.pruning.budget import Budget, LatencyBudget
from gcc.pruning.cost import Cost, generator_cost
from gcc.recipe import Recipe, differences
from gcc.registry import Batch, DatasetSource, EvalContext, Networks
from gcc.training.anomaly import FiniteLosses, not_finite
from gcc.training.best import BestCheckpoint
from gcc.training.collapse import CollapsePolicy, OnCollapse, OnNan
from gcc.training.pair import FrozenPair, GANPair, Losses
from gcc.training.precision import Amp, ExecutionConfig
from gcc.training.result import Result
from gcc.training.teacher import Teacher
from gcc.utils.backend import disable_malloc_trim, raise_recompile_limit, use_deterministic_algorithms, use_float32, use_tf32
from gcc.utils.device import choose_device
from gcc.utils.distributed import init_distributed
from gcc.utils.memory import free_memory
from gcc.utils.seeds import derive_seed, random_states, restore_random
from gcc.utils.weights import Weights

ALONE, FIRST, SECOND, BEFORE, SCORED = range(5)
"""Streams of batches, drawn independently: of a pair that plays alone, the two of Algorithm 1's second step, before either, and those that
channels are scored on."""
GAN_PHASES = ("train", "teacher")
"""Phases whose epochs are candidates for the best."""
SNAPSHOT = 2
"""Format of snapshots."""
SHOWN = 6
"""Held-out samples in a sample grid."""


@dataclass(frozen=True)
class Step:
    """One iteration.

    Attributes:
        phase: what is being trained, such as "search" for the first step of Algorithm 1.
        epoch: counted from 1.
        epochs: of this phase.
        number: iterations done in this phase, this one included.
        total: iterations of this phase.
        losses: by side and term, such as `student/G`; scalars on the device, to be read together and seldom.
        ends_epoch: whether the epoch ends with it.
        figures: on the validation images, by `val/side/generator/title`, where the epoch was judged.
        warnings: what is wrong with the game, by side.
    """

    phase: str
    epoch: int
    epochs: int
    number: int
    total: int
    losses: Losses
    ends_epoch: bool
    metrics: Mapping[str, float] = field(default_factory=dict)
    warnings: Mapping[str, str] = field(default_factory=dict)


def no_callback(step: Step) -> None:
    """Watch nothing."""


class Run(abc.ABC):
    """An architecture bound to its recipe, with data and a device.

    Args:
        teacher: its architecture, recipe, and weights where it brings some along.
        data: folder of the training images; none for the architecture's demo data and demo recipe.
        dataset: name of the data set plugin that reads `data`; none to tell from the folder's layout.
        skip_bad: leave out images that cannot be read, instead of stopping.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        amp: `auto`, `bf16`, `fp16` or `off`.
        reference: run every operation as it is written, in float32 and torch's own layouts; slower.
        deterministic: let torch use, from now on, only algorithms that give the same bits again, which those of a GPU mostly do not.
        detect_anomaly: end at the first layer or gradient that is not finite, and name it: slower, since each one is looked at.
        compile: let `torch.compile` compile networks where training calls them: the first steps are slow, the others faster.
        micro_batch: samples that a network is run on at once, for less memory, with the same gradients but for batch norm, which then
            normalises every part by itself; none for whole batches.
        workers: processes that read images; 0 reads them between the steps.
        cache: decode the images once, when the run is checked, and keep them beside the data.
        weights: files of trained weights by the name of their network, for what task losses and evaluators read, such as `vgg19`; what is
            not named is looked for in torch's cache.
        on_collapse: what to do when the game collapses: `warn`, `stop`, or `rollback`, which takes up the last sound epoch at half the
            learning rates.
        on_nan: what to do when a loss is not finite: `stop` or `rollback`.
        settings: recipe fields.

    Raises:
        GccError: the recipe, the device, a plugin or the data cannot be used.
    """

    def __init__(
        self,
        teacher: Teacher,
        data: str | Path | None = None,
        *,
        dataset: str | None = None,
        skip_bad: bool = False,
        device: str = "auto",
        amp: Amp = "auto",
        reference: bool = False,
        deterministic: bool = False,
        detect_anomaly: bool = False,
        compile: bool = False,
        micro_batch: int | None = None,
        workers: int = 0,
        cache: bool = False,
        weights: Mapping[str, str | Path] | None = None,
        on_collapse: OnCollapse = "warn",
        on_nan: OnNan = "stop",
        **settings: Any,
    ) -> None:
        if not isinstance(teacher, Teacher):
            raise GccError(f"{teacher!r} is no teacher: expected one such as Teacher.create('pix2pix') or Teacher.load(folder)")
        self.arch = teacher.arch
        self.teacher_source = teacher
        self.architecture = teacher.architecture(demo=data is None, settings=settings)
        self.recipe: Recipe = self.architecture.recipe
        if not (self.recipe.train_teacher or (teacher.pretrained and teacher.has_discriminators)):
            lacking = f"{teacher.folder} has none" if teacher.pretrained else "this one is fresh: give one with --teacher"
            raise RecipeError(f"train_teacher = false needs a teacher with trained discriminators, and {lacking}")
        self.device = choose_device(device)
        if reference and amp in ("bf16", "fp16"):
            raise GccError(f"a plain run is one in float32: leave --reference or --amp {amp} out")
        fast = ExecutionConfig.choose(amp, self.device, channels_last=self.architecture.channels_last)
        self.ranks = init_distributed()
        self.execution = (ExecutionConfig(self.device) if reference else fast).with_ranks(self.ranks)
        if micro_batch is not None and micro_batch < 1:
            raise GccError(f"micro_batch = {micro_batch}: expected a number of samples, from 1 on")
        if compile:
            kept = {"--reference": reference, "--micro-batch": micro_batch is not None, "--detect-anomaly": detect_anomaly}
            if others := [option for option, given in kept.items() if given]:
                raise GccError(f"--compile is for networks that run whole and as they are: leave it or {' and '.join(others)} out")
            if not self.ranks.alone:
                raise GccError(f"--compile is for one process, and these are {self.ranks.world}: leave it out")
            raise_recompile_limit()
        if micro_batch is not None or detect_anomaly or compile:
            self.execution = replace(
                self.execution, skip_closed_channels=False, micro_batch=micro_batch, detect_anomaly=detect_anomaly, compile=compile
            )
        if self.device.type != "cpu":
            (use_float32 if reference else use_tf32)()
        elif not reference:
            disable_malloc_trim()
        if deterministic:
            use_deterministic_algorithms()
        self.workers = workers
        self.cache = cache
        self.weights = Weights(weights)
        self.data = DataSplits(self.architecture, None if data is None else Path(data), dataset, skip_bad=skip_bad)
        self.on_collapse = on_collapse
        self.on_nan = on_nan
        self.finite = FiniteLosses()
        self.sides: dict[str, GANPair] = {}
        self.epoch = 0
        self._resumed: Mapping[str, Any] = {}

    @cached_property
    def loader(self) -> Loader:
        """The batches of the training data."""
        return Loader(
            self.data.train,
            batch_size=self.recipe.batch_size,
            seed=self.recipe.seed,
            device=self.device,
            workers=self.workers,
            ranks=self.ranks,
        )

    @cached_property
    def collapse(self) -> CollapsePolicy:
        """Watches for a collapse of the game."""
        return CollapsePolicy(
            self.architecture, self.data.test, self.on_collapse, self.on_nan, self.state_dict, self.load_state_dict, self.ranks
        )

    @cached_property
    def auxiliary(self) -> Networks:
        """The networks that task losses read, frozen, on the device."""
        built = self.architecture.build_auxiliary(self.weights)
        return {name: self.execution.to_device(network).eval().requires_grad_(False) for name, network in built.items()}

    @cached_property
    def evaluators(self) -> EvaluatorCollection:
        """The evaluators."""
        context = EvalContext(self.weights, self.device, lambda: self.data.train, self.data.store)
        return EvaluatorCollection(split_names(self.recipe.evaluators), context, paired=self.architecture.paired)

    @cached_property
    def test(self) -> SplitEvaluation:
        """The images that results are measured on."""
        return self._evaluation(self.data.test)

    @cached_property
    def best_checkpoint(self) -> BestCheckpoint | None:
        """Keeps the best epoch; none where no evaluator or no validation images can tell."""
        validation = self.data.validation
        return BestCheckpoint(self._evaluation(validation)) if validation and self.evaluators.by_name else None

    def _evaluation(self, source: DatasetSource) -> SplitEvaluation:
        return SplitEvaluation(self.evaluators, self.architecture, source, self.recipe.batch_size, self.device, self.data.store, self.ranks)

    @abc.abstractmethod
    def steps(self) -> Iterator[Step]:
        """Train, one iteration at a time."""

    @property
    @abc.abstractmethod
    def trained_widths(self) -> dict[Role, dict[str, Widths]]:
        """The widths of the generators of every side that is trained, once they are known."""

    @abc.abstractmethod
    def result(self) -> Result:
        """Return what was trained, measured on the held-out data."""

    def state(self) -> Losses:
        """Return what is worth a record beside the losses and moves slowly; scalars on the device."""
        return {}

    def run(self, watch: Callable[[Step], None] = no_callback) -> Result:
        """Train to the end and return what was trained.

        Args:
            watch: called after every iteration.
        """
        self.check()
        for step in self.steps():
            watch(step)
        return self.result()

    def check(self) -> None:
        """Refuse now, before any long work, what would fail later; every image is read once.

        Raises:
            GccError: the budget cannot be read or is a latency that this machine cannot measure, the networks do not fit into the memory,
                the teacher that was brought along does not fit the recipe, weights are missing, or an image cannot be used.
        """
        for budget in Budget.parse_each(self.recipe.budget, self.architecture.generators).values():
            if isinstance(budget, LatencyBudget):
                # What the run makes is timed in the end, whoever chose its widths.
                require_runtime(budget.runtime)
        self.auxiliary  # noqa: B018 - reads the weights
        self._require_memory()
        self.teacher_networks(self.recipe.ngf, "teacher")
        self.data.check()
        if self.cache:
            with self.ranks.main_process_first():
                self.data.decode()
        self.test.check()
        if self.best_checkpoint:
            self.best_checkpoint.validation.check()
        self.weights.require_asked()

    def _require_memory(self) -> None:
        """Refuse networks, such as a stranger's recipe may ask for, that memory does not hold beside their optimisers."""
        needs, free = 3 * self._bytes_of_pair(), free_memory(self.device)
        if free is not None and needs > free:
            raise GccError(
                f"the teacher pair and what its optimisers remember take {needs / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free: "
                "lower ngf and ndf with --set"
            )

    def plan(self) -> dict[str, str]:
        """Return what the run is about to do, as texts by title."""
        every = self.loader.steps
        notes = [note for note in (self.architecture.note, self.teacher_source.note, self.data.test.note) if note]
        return {
            **self.data.facts(self.recipe.size),
            **({"note": "; ".join(notes)} if notes else {}),
            "device": f"{self.device}, {str(self.execution.dtype).removeprefix('torch.')}"
            + (", compiled" if self.execution.compile else "")
            + ("" if self.ranks.alone else f", {self.ranks.world} processes"),
            "training": f"{' + '.join(self.stages())} epochs of {every} steps, batches of {self.recipe.batch_size}{self._parts()}",
        }

    def _parts(self) -> str:
        """Return what there is to say of the parts in which batches are run."""
        size = self.execution.micro_batch
        if size is None:
            return ""
        modules = chain.from_iterable(network.modules() for network in self._pair_on_meta())
        mixes = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in modules)
        return f" in parts of {size}" + (", which batch norm normalises each by itself" if mixes else "")

    def stages(self) -> list[str]:
        """Return the epochs of every stage of training, in their order."""
        before = (
            [] if self.teacher_source.pretrained or not self.recipe.pretrain_epochs else [f"{self.recipe.pretrain_epochs} (pre-training)"]
        )
        return [*before, str(self.recipe.epochs)]

    def teacher_cost(self) -> Cost:
        """Return what one full generator costs."""
        return generator_cost(self.architecture, self.architecture.full_widths(self.recipe.ngf))

    def bytes_written(self) -> int:
        """Return about how many bytes the run will save."""
        # The best epoch and the last.
        copies = 2 if self.recipe.evaluators else 1
        columns = 2 + len(self.architecture.generators) * 2
        grids = (self.recipe.pretrain_epochs + self.recipe.epochs) * SHOWN * columns * 3 * self.recipe.size**2
        # A student is no larger than its teacher; and the report holds the grids of an epoch once more.
        return 2 * copies * self._bytes_of_pair() + grids

    def bytes_of_snapshot(self) -> int:
        """Return about how many bytes a checkpoint takes: weights, Adam's two moments and the best epoch's of two pairs."""
        return 2 * (3 + bool(self.recipe.evaluators)) * self._bytes_of_pair()

    def _bytes_of_pair(self) -> int:
        """Return the bytes of the teacher pair's weights."""
        weights = chain.from_iterable(network.parameters() for network in self._pair_on_meta())
        return sum(parameter.numel() * parameter.element_size() for parameter in weights)

    def _pair_on_meta(self) -> list[nn.Module]:
        """Return the teacher's networks without values."""
        return [
            *(generator_on_meta(self.architecture, widths) for widths in self.widths_at(self.recipe.ngf).values()),
            *(on_meta(self.architecture.build_discriminator) for _ in self.architecture.discriminators),
        ]

    def widths_at(self, base: int) -> dict[str, Widths]:
        """Return the widths of every full generator of width `base`."""
        return {name: self.architecture.full_widths(base) for name in self.architecture.generators}

    def teacher_networks(self, base: int, side: str) -> tuple[dict[str, nn.Module], dict[str, nn.Module]]:
        """Return generators of width `base` and discriminators: those brought along where they fit that width, else fresh ones."""
        generators = build_generators(self.architecture, self.widths_at(base), side)
        discriminators = build_discriminators(self.architecture, side)
        if base == self.recipe.ngf:
            self.teacher_source.load_into(generators, discriminators)
        return generators, discriminators

    def begin(self, phase: str, epoch: int, *players: GANPair) -> int:
        """Set the learning rates of an epoch, and the seed of what torch draws in it, such as dropout.

        Returns:
            The iterations that are done: 0 but where a resumed run takes up an epoch.
        """
        self.epoch = epoch
        torch.manual_seed(derive_seed(self.recipe.seed, self.ranks.seed_name(f"{phase} {epoch}")))
        done = self._restore()
        if phase in GAN_PHASES:
            self.collapse.begin()
        for player in players:
            player.begin(epoch)
        return done

    def step(self, phase: str, epoch: int, epochs: int, index: int, losses: Losses) -> Step:
        """Return the record of iteration `index` of an epoch, counted from 1; losses are those of this process."""
        every = self.loader.steps
        number = (epoch - 1) * every + index
        losses = self.ranks.all_reduce_mean(losses)
        self.finite.update(number, losses)
        metrics: Mapping[str, float] = {}
        warnings: Mapping[str, str] = {}
        if phase in GAN_PHASES:
            self.collapse.update(self.sides, losses)
        if index == every:
            # Once an epoch, since it waits for the device.
            if phase in GAN_PHASES:
                warnings = self.collapse.after_epoch(epoch, self.sides, self.finite.broken)
                due = epoch % self.recipe.evaluate_every == 0 or epoch == epochs
                metrics = (
                    self.best_checkpoint.update(epoch, self.sides) if due and self.best_checkpoint and not self.collapse.rolled_back else {}
                )
            else:
                self.require_finite(phase, epoch)
            self.finite.begin()
        return Step(phase, epoch, epochs, number, epochs * every, losses, index == every, metrics, warnings)

    def require_finite(self, phase: str, epoch: int) -> None:
        """Refuse to go on with losses that are no numbers; waits for the device.

        Raises:
            TrainingError: a loss of this epoch is not finite; the message names the first ones.
        """
        number, names = self.finite.broken
        if names:
            raise TrainingError(not_finite(names, number, f"{phase} epoch {epoch}"))

    @property
    def players(self) -> Mapping[str, GANPair]:
        """Everyone who is being trained, or teaches."""
        return self.sides

    def state_dict(self) -> dict[str, Any]:
        """Return everything that training changes in the players, as nested plain values and tensors; no copy."""
        return {
            "players": {name: player.state_dict() for name, player in self.players.items()},
            "pools": {name: player.pools_state_dict() for name, player in self.players.items()},
        }

    def load_state_dict(self, memory: Mapping[str, Any]) -> None:
        """Take up a copy of what `state_dict` returned."""
        for name, player in self.players.items():
            player.load_state_dict(memory["players"][name])
            player.load_pools_state_dict(memory["pools"][name])

    def snapshot(self, step: Step) -> dict[str, Any]:
        """Return all that the run needs to go on after an iteration as if it had never stopped; no copy.

        Of several processes all must call this, and what the first one returns is whole.
        """
        return {
            "format": SNAPSHOT,
            "arch": self.arch,
            "recipe": self.recipe.to_dict(),
            "samples": len(self.data.train),
            "phase": step.phase,
            "epoch": step.epoch,
            "done": step.number - (step.epoch - 1) * self.loader.steps,
            "memory": self.state_dict(),
            "guard": self.collapse.state_dict(),
            "best": self.best_checkpoint.state_dict() if self.best_checkpoint else {},
            "processes": self.ranks.gather_object(self._rank_state()),
        }

    def resume(self, snapshot: Mapping[str, Any]) -> None:
        """Go on from a snapshot once `steps` is called.

        Raises:
            RunError: it is of another recipe or other data.
        """
        stand = [snapshot.get(name) for name in ("phase", "epoch", "done")]
        if any(self.ranks.all_reduce_max(self.ranks.broadcast_object(stand) != stand)):
            raise RunError("the processes of this run find different checkpoints: let all of them see the same --out")
        if snapshot.get("format") != SNAPSHOT:
            raise RunError(f"the run to be resumed was made by another version (format {snapshot.get('format')}, expected {SNAPSHOT})")
        if snapshot["arch"] != self.arch:
            raise RunError(f"the run to be resumed is one of {snapshot['arch']}, not of {self.arch}")
        if changes := differences(snapshot["recipe"], self.recipe.to_dict()):
            raise RunError(f"the run to be resumed has another recipe: {changes}; resume it with its own, or start a new one")
        if snapshot["samples"] != len(self.data.train):
            raise RunError(
                f"the run to be resumed trains on {snapshot['samples']} samples, and {len(self.data.train)} are there now: "
                "bring its data back, or start a new one"
            )
        processes = len(snapshot["processes"])
        filled = any(pool["images"] for pools in snapshot["memory"]["pools"].values() for pool in pools.values())
        if filled and processes != self.ranks.world:
            raise RunError(
                f"the run to be resumed was one of {processes} processes, each with image pools of its own, and now there are "
                f"{self.ranks.world}: start it with {processes}"
            )
        self._resumed = snapshot

    def _rank_state(self) -> dict[str, Any]:
        """Return what this process remembers apart from the others; no copy."""
        sound = self.collapse.state_dict()["sound"]
        return {"pools": self.state_dict()["pools"], "sound": sound and sound["pools"], "random": random_states(self.device)}

    def epochs(self, phase: str, count: int) -> range:
        """Return the epochs of a phase that are to be trained, counted from 1: all, or of a resumed run those that are not over."""
        if not self._resumed:
            return range(1, count + 1)
        return range(self._resumed["epoch"], count + 1) if self._resumed["phase"] == phase else range(0)

    def _restore(self) -> int:
        """Put the run into the state of the snapshot that it resumes from, if any, and return the iterations of the epoch that are done."""
        if not self._resumed:
            return 0
        snapshot, self._resumed = self._resumed, {}
        try:
            processes, memory, guard = snapshot["processes"], snapshot["memory"], snapshot["guard"]
            if len(processes) == self.ranks.world:
                own = processes[self.ranks.rank]
                memory = memory | {"pools": own["pools"]}
                guard = guard | {"sound": guard["sound"] and guard["sound"] | {"pools": own["sound"]}}
            self.load_state_dict(memory)
            if snapshot["phase"] in GAN_PHASES:
                self.collapse.load_state_dict(guard, self.sides)
            if self.best_checkpoint:
                self.best_checkpoint.load_state_dict(snapshot["best"])
            if len(processes) == self.ranks.world:
                restore_random(own["random"], self.device)
        except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise RunError(f"the checkpoint does not fit the run, though its recipe does: {str(error).partition(chr(10))[0]}") from error
        return int(snapshot["done"])

    def train_pair(self, pair: GANPair, phase: str, epochs: int) -> Iterator[Step]:
        """Train one pair by itself with Eq. 1 and 2 (Algorithm 1, lines 2 to 4)."""
        for epoch in self.epochs(phase, epochs):
            done = self.begin(phase, epoch, pair)
            for index, batch in enumerate(self.batches(epoch, ALONE, done), done + 1):
                made = pair.generate(batch)
                losses = pair.step_D(made)
                losses |= pair.step_G(made, pair.discriminate(made))
                yield self.step(phase, epoch, epochs, index, prefixed("teacher", losses))
        self.loader.close(ALONE)

    def untrained_pairs(self) -> dict[str, GANPair]:
        """Return the sides that start afresh, and are to be pre-trained."""
        return {side: player for side, player in self.sides.items() if not (side == "teacher" and self.teacher_source.pretrained)}

    def pretrain(self, phase: str, epochs: int, players: Mapping[str, GANPair]) -> Iterator[Step]:
        """Train the generators of players, by side, before the game, in which their optimisers start anew."""
        for epoch in self.epochs(phase, epochs if players else 0):
            done = self.begin(phase, epoch)
            # What task losses need of a batch is not prepared: they have no part in this stage.
            for index, batch in enumerate(self.loader.batches(epoch, BEFORE, done), done + 1):
                losses: Losses = {}
                for side, player in players.items():
                    losses |= prefixed(side, player.pretrain(player.generate(batch)))
                yield self.step(phase, epoch, epochs, index, losses)
        self.loader.close(BEFORE)
        for player in players.values():
            player.optimizer_G.reset_state()

    def batches(self, epoch: int, stream: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch, from number `start` on, with all that the task losses need."""
        for batch in self.loader.batches(epoch, stream, start):
            with torch.no_grad(), self.execution.autocast():
                prepared = self.architecture.prepare(batch, self.auxiliary)
            yield prepared

    def teacher_player(self, layers: DistillationLayers = NO_LAYERS) -> GANPair:
        """Return the teacher pair at its start: what was brought along, else afresh."""
        side = FrozenPair if self.teacher_source.pretrained and not self.recipe.train_teacher else GANPair
        return side(self.architecture, *self.teacher_networks(self.recipe.ngf, "teacher"), self.execution, self.auxiliary, layers)


def prefixed(side: str, losses: Losses) -> Losses:
    """Return the losses under the name of their side."""
    return {f"{side}/{term}": loss for term, loss in losses.items()}
