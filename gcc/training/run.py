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
from gcc.data.splits import Material
from gcc.deploy.runtimes import require_runtime
from gcc.errors import GccError, RecipeError, RunError, TrainingError
from gcc.evaluation.collection import Jury, named
from gcc.evaluation.split import HeldOut
from gcc.losses.layers import NOWHERE, Positions
from gcc.models.build import build_discriminators, build_generators, generator_on_meta
from gcc.models.modules import Widths, on_meta
from gcc.pruning.budget import Budget, LatencyBudget
from gcc.pruning.cost import Cost, generator_cost
from gcc.recipe import Recipe, differences
from gcc.registry import Batch, Networks, SampleSource, Surroundings
from gcc.training.anomaly import FiniteLosses, not_finite
from gcc.training.best import Selection
from gcc.training.collapse import Guard, OnCollapse, OnNan
from gcc.training.pair import FrozenPlayer, Losses, Player
from gcc.training.precision import Amp, Execution
from gcc.training.result import Result
from gcc.training.teacher import Teacher
from gcc.utils.backend import compute_exactly, compute_fast, keep_memory, repeat_exactly, unlimit_compiler
from gcc.utils.device import choose_device
from gcc.utils.distributed import join
from gcc.utils.memory import free_memory
from gcc.utils.seeds import derived, random_states, restore_random
from gcc.utils.weights import Weights

ALONE, FIRST, SECOND, BEFORE, SCORED = range(5)
"""Streams of batches, drawn independently: of a pair that plays alone, the two of Algorithm 1's second step, before either, and those that
channels are scored on."""
PLAYED = ("train", "teacher")
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
    figures: Mapping[str, float] = field(default_factory=dict)
    warnings: Mapping[str, str] = field(default_factory=dict)


def ignore(step: Step) -> None:
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
        plain: run every operation as it is written, in float32 and torch's own layouts: slower, and the reference for all that is faster.
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
        plain: bool = False,
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
        self.given = teacher
        self.architecture = teacher.architecture(demo=data is None, settings=settings)
        self.recipe: Recipe = self.architecture.recipe
        if not (self.recipe.train_teacher or (teacher.brought and teacher.judges)):
            lacking = f"{teacher.folder} has none" if teacher.brought else "this one is fresh: give one with --teacher"
            raise RecipeError(f"train_teacher = false needs a teacher with trained discriminators, and {lacking}")
        self.device = choose_device(device)
        if plain and amp in ("bf16", "fp16"):
            raise GccError(f"a plain run is one in float32: leave --plain or --amp {amp} out")
        fast = Execution.choose(amp, self.device, channels_last=self.architecture.channels_last)
        self.ranks = join()
        self.execution = (Execution(self.device) if plain else fast).among(self.ranks)
        if micro_batch is not None and micro_batch < 1:
            raise GccError(f"micro_batch = {micro_batch}: expected a number of samples, from 1 on")
        if compile:
            kept = {"--plain": plain, "--micro-batch": micro_batch is not None, "--detect-anomaly": detect_anomaly}
            if others := [option for option, given in kept.items() if given]:
                raise GccError(f"--compile is for networks that run whole and as they are: leave it or {' and '.join(others)} out")
            if not self.ranks.alone:
                raise GccError(f"--compile is for one process, and these are {self.ranks.world}: leave it out")
            unlimit_compiler()
        if micro_batch is not None or detect_anomaly or compile:
            self.execution = replace(
                self.execution, leaves_out_closed=False, micro_batch=micro_batch, detects_anomalies=detect_anomaly, compiles=compile
            )
        if self.device.type != "cpu":
            (compute_exactly if plain else compute_fast)()
        elif not plain:
            keep_memory()
        if deterministic:
            repeat_exactly()
        self.workers = workers
        self.cache = cache
        self.weights = Weights(weights)
        self.material = Material(self.architecture, None if data is None else Path(data), dataset, skip_bad=skip_bad)
        self.on_collapse = on_collapse
        self.on_nan = on_nan
        self.finite = FiniteLosses()
        self.sides: dict[str, Player] = {}
        self.epoch = 0
        self._resumed: Mapping[str, Any] = {}

    @cached_property
    def loader(self) -> Loader:
        """The batches of the training data."""
        return Loader(
            self.material.train,
            batch_size=self.recipe.batch_size,
            seed=self.recipe.seed,
            device=self.device,
            workers=self.workers,
            ranks=self.ranks,
        )

    @cached_property
    def guard(self) -> Guard:
        """Watches for a collapse of the game."""
        return Guard(self.architecture, self.material.test, self.on_collapse, self.on_nan, self.memory, self.recall, self.ranks)

    @cached_property
    def auxiliary(self) -> Networks:
        """The networks that task losses read, frozen, on the device."""
        built = self.architecture.build_auxiliary(self.weights)
        return {name: self.execution.place(network).eval().requires_grad_(False) for name, network in built.items()}

    @cached_property
    def jury(self) -> Jury:
        """The evaluators."""
        around = Surroundings(self.weights, self.device, lambda: self.material.train, self.material.store)
        return Jury(named(self.recipe.metrics), around, paired=self.architecture.paired)

    @cached_property
    def test(self) -> HeldOut:
        """The images that results are measured on."""
        return self._held_out(self.material.test)

    @cached_property
    def selection(self) -> Selection | None:
        """Keeps the best epoch; none where no evaluator or no validation images can tell."""
        validation = self.material.validation
        return Selection(self._held_out(validation)) if validation and self.jury.evaluators else None

    def _held_out(self, source: SampleSource) -> HeldOut:
        return HeldOut(self.jury, self.architecture, source, self.recipe.batch_size, self.device, self.material.store, self.ranks)

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

    def run(self, watch: Callable[[Step], None] = ignore) -> Result:
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
        self.material.check()
        if self.cache:
            with self.ranks.in_turn():
                self.material.decode()
        self.test.check()
        if self.selection:
            self.selection.validation.check()
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
        notes = [note for note in (self.architecture.note, self.given.note, self.material.test.note) if note]
        return {
            **self.material.facts(self.recipe.size),
            **({"note": "; ".join(notes)} if notes else {}),
            "device": f"{self.device}, {str(self.execution.dtype).removeprefix('torch.')}"
            + (", compiled" if self.execution.compiles else "")
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
        before = [] if self.given.brought or not self.recipe.pretrain_epochs else [f"{self.recipe.pretrain_epochs} (pre-training)"]
        return [*before, str(self.recipe.epochs)]

    def teacher_cost(self) -> Cost:
        """Return what one full generator costs."""
        return generator_cost(self.architecture, self.architecture.full_widths(self.recipe.ngf))

    def bytes_written(self) -> int:
        """Return about how many bytes the run will save."""
        # The best epoch and the last.
        copies = 2 if self.recipe.metrics else 1
        columns = 2 + len(self.architecture.generators) * 2
        grids = (self.recipe.pretrain_epochs + self.recipe.epochs) * SHOWN * columns * 3 * self.recipe.size**2
        # A student is no larger than its teacher; and the report holds the grids of an epoch once more.
        return 2 * copies * self._bytes_of_pair() + grids

    def bytes_of_snapshot(self) -> int:
        """Return about how many bytes a checkpoint takes: weights, Adam's two moments and the best epoch's of two pairs."""
        return 2 * (3 + bool(self.recipe.metrics)) * self._bytes_of_pair()

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
            self.given.fill(generators, discriminators)
        return generators, discriminators

    def begin(self, phase: str, epoch: int, *players: Player) -> int:
        """Set the learning rates of an epoch, and the seed of what torch draws in it, such as dropout.

        Returns:
            The iterations that are done: 0 but where a resumed run takes up an epoch.
        """
        self.epoch = epoch
        torch.manual_seed(derived(self.recipe.seed, self.ranks.named(f"{phase} {epoch}")))
        done = self._take_up()
        if phase in PLAYED:
            self.guard.begin()
        for player in players:
            player.begin(epoch)
        return done

    def step(self, phase: str, epoch: int, epochs: int, index: int, losses: Losses) -> Step:
        """Return the record of iteration `index` of an epoch, counted from 1; losses are those of this process."""
        every = self.loader.steps
        number = (epoch - 1) * every + index
        losses = self.ranks.means(losses)
        self.finite.see(number, losses)
        figures: Mapping[str, float] = {}
        warnings: Mapping[str, str] = {}
        if phase in PLAYED:
            self.guard.see(self.sides, losses)
        if index == every:
            # Once an epoch, since it waits for the device.
            if phase in PLAYED:
                warnings = self.guard.after_epoch(epoch, self.sides, self.finite.broken)
                due = epoch % self.recipe.evaluate_every == 0 or epoch == epochs
                figures = self.selection.consider(epoch, self.sides) if due and self.selection and not self.guard.rolled_back else {}
            else:
                self.require_finite(phase, epoch)
            self.finite.begin()
        return Step(phase, epoch, epochs, number, epochs * every, losses, index == every, figures, warnings)

    def require_finite(self, phase: str, epoch: int) -> None:
        """Refuse to go on with losses that are no numbers; waits for the device.

        Raises:
            TrainingError: a loss of this epoch is not finite; the message names the first ones.
        """
        number, names = self.finite.broken
        if names:
            raise TrainingError(not_finite(names, number, f"{phase} epoch {epoch}"))

    @property
    def players(self) -> Mapping[str, Player]:
        """Everyone who is being trained, or teaches."""
        return self.sides

    def memory(self) -> dict[str, Any]:
        """Return everything that training changes in the players, as nested plain values and tensors; no copy."""
        return {
            "players": {name: player.memory() for name, player in self.players.items()},
            "pools": {name: player.memory_of_pools() for name, player in self.players.items()},
        }

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Take up a copy of what `memory` returned."""
        for name, player in self.players.items():
            player.recall(memory["players"][name])
            player.recall_pools(memory["pools"][name])

    def snapshot(self, step: Step) -> dict[str, Any]:
        """Return all that the run needs to go on after an iteration as if it had never stopped; no copy.

        Of several processes all must call this, and what the first one returns is whole.
        """
        return {
            "format": SNAPSHOT,
            "arch": self.arch,
            "recipe": self.recipe.to_dict(),
            "samples": len(self.material.train),
            "phase": step.phase,
            "epoch": step.epoch,
            "done": step.number - (step.epoch - 1) * self.loader.steps,
            "memory": self.memory(),
            "guard": self.guard.memory(),
            "best": self.selection.memory() if self.selection else {},
            "processes": self.ranks.gathered(self._own()),
        }

    def resume(self, snapshot: Mapping[str, Any]) -> None:
        """Go on from a snapshot once `steps` is called.

        Raises:
            RunError: it is of another recipe or other data.
        """
        stand = [snapshot.get(name) for name in ("phase", "epoch", "done")]
        if any(self.ranks.most(self.ranks.agreed(stand) != stand)):
            raise RunError("the processes of this run find different checkpoints: let all of them see the same --out")
        if snapshot.get("format") != SNAPSHOT:
            raise RunError(f"the run to be resumed was made by another version (format {snapshot.get('format')}, expected {SNAPSHOT})")
        if snapshot["arch"] != self.arch:
            raise RunError(f"the run to be resumed is one of {snapshot['arch']}, not of {self.arch}")
        if changes := differences(snapshot["recipe"], self.recipe.to_dict()):
            raise RunError(f"the run to be resumed has another recipe: {changes}; resume it with its own, or start a new one")
        if snapshot["samples"] != len(self.material.train):
            raise RunError(
                f"the run to be resumed trains on {snapshot['samples']} samples, and {len(self.material.train)} are there now: "
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

    def _own(self) -> dict[str, Any]:
        """Return what this process remembers apart from the others; no copy."""
        sound = self.guard.memory()["sound"]
        return {"pools": self.memory()["pools"], "sound": sound and sound["pools"], "random": random_states(self.device)}

    def epochs(self, phase: str, count: int) -> range:
        """Return the epochs of a phase that are to be trained, counted from 1: all, or of a resumed run those that are not over."""
        if not self._resumed:
            return range(1, count + 1)
        return range(self._resumed["epoch"], count + 1) if self._resumed["phase"] == phase else range(0)

    def _take_up(self) -> int:
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
            self.recall(memory)
            if snapshot["phase"] in PLAYED:
                self.guard.recall(guard, self.sides)
            if self.selection:
                self.selection.recall(snapshot["best"])
            if len(processes) == self.ranks.world:
                restore_random(own["random"], self.device)
        except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise RunError(f"the checkpoint does not fit the run, though its recipe does: {str(error).partition(chr(10))[0]}") from error
        return int(snapshot["done"])

    def play(self, pair: Player, phase: str, epochs: int) -> Iterator[Step]:
        """Train one pair by itself with Eq. 1 and 2 (Algorithm 1, lines 2 to 4)."""
        for epoch in self.epochs(phase, epochs):
            done = self.begin(phase, epoch, pair)
            for index, batch in enumerate(self.batches(epoch, ALONE, done), done + 1):
                made = pair.make(batch)
                losses = pair.update_discriminators(made)
                losses |= pair.update_generators(made, pair.judge(made))
                yield self.step(phase, epoch, epochs, index, titled("teacher", losses))
        self.loader.close(ALONE)

    def apprentices(self) -> dict[str, Player]:
        """Return the sides that start afresh, and are to be pre-trained."""
        return {side: player for side, player in self.sides.items() if not (side == "teacher" and self.given.brought)}

    def pretrain(self, phase: str, epochs: int, players: Mapping[str, Player]) -> Iterator[Step]:
        """Train the generators of players, by side, before the game, in which their optimisers start anew."""
        for epoch in self.epochs(phase, epochs if players else 0):
            done = self.begin(phase, epoch)
            # What task losses need of a batch is not prepared: they have no part in this stage.
            for index, batch in enumerate(self.loader.batches(epoch, BEFORE, done), done + 1):
                losses: Losses = {}
                for side, player in players.items():
                    losses |= titled(side, player.pretrain(player.make(batch)))
                yield self.step(phase, epoch, epochs, index, losses)
        self.loader.close(BEFORE)
        for player in players.values():
            player.generator_mover.forget()

    def batches(self, epoch: int, stream: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch, from number `start` on, with all that the task losses need."""
        for batch in self.loader.batches(epoch, stream, start):
            with torch.no_grad(), self.execution.autocast():
                prepared = self.architecture.prepare(batch, self.auxiliary)
            yield prepared

    def teacher_player(self, positions: Positions = NOWHERE) -> Player:
        """Return the teacher pair at its start: what was brought along, else afresh."""
        side = FrozenPlayer if self.given.brought and not self.recipe.train_teacher else Player
        return side(self.architecture, *self.teacher_networks(self.recipe.ngf, "teacher"), self.execution, self.auxiliary, positions)


def titled(side: str, losses: Losses) -> Losses:
    """Return the losses under the name of their side."""
    return {f"{side}/{term}": loss for term, loss in losses.items()}
