"""The training loop of every run: stages of epochs, one step at a time, resumable anywhere."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from itertools import islice
from typing import Any

import torch

from gcc.artifacts.config import Role
from gcc.errors import GccError, RecipeError, RecipeWarning, RunError, first_line
from gcc.models.modules import Widths
from gcc.recipe import Recipe
from gcc.registry import Architecture
from gcc.training import measure, plan
from gcc.training.best import BestCheckpoint, EpochRule
from gcc.training.build_pairs import teacher_networks
from gcc.training.checkpoint import FORMAT, CheckpointState, require_resumable
from gcc.training.collapse import CollapsePolicy
from gcc.training.context import RunContext
from gcc.training.direction_check import direction_warnings
from gcc.training.display import ProgressDisplay, console_for
from gcc.training.epoch_watch import EpochWatch, Findings
from gcc.training.footprint import require_memory
from gcc.training.history import History
from gcc.training.loss_check import require_usable_losses
from gcc.training.loss_tree import LossTree, StepLosses, averaged
from gcc.training.pair import GANPair
from gcc.training.range_check import require_right_range
from gcc.training.result import Result
from gcc.training.size_check import require_right_size
from gcc.training.step import Stage, Step
from gcc.utils.notebook import html_table
from gcc.utils.seeds import derive_seed, random_states, restore_random
from gcc.utils.state_tree import on_device
from gcc.utils.user_warnings import warn_user


def no_callback(step: Step) -> None:
    """Do nothing."""


class TrainingLoop(abc.ABC):
    """A run: `stages` says what to train, and the loop does it.

    Attributes:
        context: what the run works with.
        pairs: the pairs that train now, by role; "search" is the pair of the first step.
        epoch: the current epoch of the current phase, counted from 1.
        given: generators as they were before the run trained them further, with their metrics, by role.
        history: the losses and metrics so far.
        warnings: what `check` has found that may be wrong, as texts for the plan.
        resumable_step: the last step, while the state of the run is that after it. None within a step and between stages.

    Args:
        context: what the run works with.
    """

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.pairs: dict[str, GANPair] = {}
        self.epoch = 0
        self.given: dict[Role, measure.Evaluated] = {}
        self.history = History()
        self.resumable_step: Step | None = None
        self.warnings: list[str] = []
        self._watch = EpochWatch(context)
        self._resumed: CheckpointState = {}
        self._is_over = False

    def __repr__(self) -> str:
        return "\n".join([type(self).__name__, *(f"  {title}: {text}" for title, text in self._facts().items())])

    def _repr_html_(self) -> str:
        return html_table(type(self).__name__, [], {title: [text] for title, text in self._facts().items()})

    def _facts(self) -> dict[str, str]:
        """Return what identifies the run in a few words, by title."""
        return plan.facts(self.context, self.stage_lengths())

    @property
    def arch(self) -> str:
        """The name of the architecture."""
        return self.context.arch

    @property
    def architecture(self) -> Architecture[Any]:
        """The architecture, bound to the recipe."""
        return self.context.architecture

    @property
    def recipe(self) -> Recipe:
        """The recipe."""
        return self.context.recipe

    @cached_property
    def epoch_rule(self) -> EpochRule:
        """Which epoch of each pair is the result."""
        return EpochRule.of(self.context)

    @property
    def collapse(self) -> CollapsePolicy | None:
        """The policy that watches for collapse, in the adversarial phases."""
        return self._watch.collapse

    @property
    def best(self) -> BestCheckpoint | None:
        """The best epoch of each pair, in the adversarial phases, if validation images rank the epochs."""
        return self._watch.best

    @property
    def epoch_of_weights(self) -> int:
        """The epoch that the present weights belong to: after a rollback the last good one, else the current one."""
        return self.collapse.last_good_epoch if self.collapse and self.collapse.rolled_back else self.epoch

    @property
    def trained(self) -> measure.Trained:
        """What the run has trained so far."""
        return measure.Trained(
            self.context,
            self.pairs,
            widths=self.result_widths,
            epoch=self.epoch_of_weights,
            rule=self.epoch_rule,
            best=self.best.best if self.best else {},
            given=self.given,
            history=self.history.lines,
        )

    @abc.abstractmethod
    def stages(self) -> Iterator[Stage]:
        """Yield the stages of training. Code after a yield runs when that stage is over."""

    @property
    @abc.abstractmethod
    def result_widths(self) -> dict[Role, dict[str, Widths]]:
        """The widths of the generators of every role in the result, once they are known."""

    @abc.abstractmethod
    def stage_lengths(self) -> list[str]:
        """Return the number of epochs of each stage, or of its steps if these limit the run, in order."""

    def plan(self) -> dict[str, str]:
        """Return a summary of the run for its user, by title."""
        return plan.training_plan(self.context, self.stage_lengths(), self.epoch_rule, self.warnings)

    def monitored(self) -> LossTree:
        """Return slowly changing values to log beside the losses; scalars on the device."""
        return {}

    def check(self) -> None:
        """Refuse now, before any long work, what would fail later, and prepare the data. Every image is read once.

        Raises:
            GccError: the networks do not fit into memory, the pretrained teacher does not fit the recipe, the budget cannot be read or is a
                latency that this machine cannot measure, weights are missing, an image cannot be used, or a user's generator has another
                range of values or does not take images of the recipe's size, or the user's losses fail.
        """
        if self.recipe.pretrain_epochs and type(self.architecture).pretraining_losses is Architecture.pretraining_losses:
            raise RecipeError(f"{self.arch} has no stage before adversarial training: leave out pretrain_epochs, or set it to 0")
        require_memory(self.context)
        require_right_size(self.architecture)
        generators, _ = teacher_networks(self.context, self.recipe.ngf, "teacher")
        self.context.check()
        if self.context.teacher.is_trained:
            self.warnings = direction_warnings(self.architecture, generators, self.context.data.test)
            require_right_range(self.architecture, generators, self.context.data.test, self.context.data.level_hints)
        require_usable_losses(self.context, generators)

    def run(self, watch: Callable[[Step], None] = no_callback, *, progress: bool | None = None) -> Result:
        """Train to the end, and return the result. What `plan` warns of is a Python warning (`RecipeWarning`).

        Torch's random numbers on the CPU are the caller's again when it returns.

        Args:
            watch: called after every step. If it draws from torch's global generator, the run takes another course.
            progress: whether to show the progress on standard error. None shows it in terminals and notebooks.

        Raises:
            GccError: what `check` refuses, or training failed.
        """
        self.check()
        if self.context.ranks.is_main_process and (warning := self.plan().get("warning")):
            warn_user(warning, RecipeWarning)
        console = console_for(progress if self.context.ranks.is_main_process else False)
        with torch.random.fork_rng(devices=[]), ProgressDisplay(console) as display:
            for step in self.steps():
                display.update(step, self.history.latest)
                if self.context.ranks.is_main_process:
                    display.warn(step, self.collapse)
                watch(step)
        return self.result()

    def result(self) -> Result:
        """Return the trained pairs, measured on the test split. All ranks must call this.

        Raises:
            GccError: training is not over.
        """
        if not self.epoch:
            raise GccError("nothing has been trained yet: call `run()` first")
        if not self._is_over:
            raise GccError("training is not over: call `run()`, or take `steps()` to its end, before `result()`")
        with self.context.process_settings():
            return measure.build_result(self.trained)

    def steps(self) -> Iterator[Step]:
        """Train, one step at a time.

        Raises:
            GccError: this run has trained before, or training failed.
        """
        if self.epoch:
            raise GccError(f"this {type(self).__name__} has trained already: make a new one to train again")
        with self.context.process_settings():
            self.given = measure.evaluate_given(self.context)
            for stage in self.stages():
                for step in self._train(stage):
                    self._log(step)
                    yield step
        self._is_over = True

    def _log(self, step: Step) -> None:
        # Only one process reads the losses within an epoch: the others' clocks differ.
        if not self.context.ranks.is_main_process:
            return
        self.history.add(step)
        if self.history.is_due(step):
            self.read_losses(step)
        self.history.add_metrics(step)

    def read_losses(self, step: Step) -> None:
        """Read the losses up to a step for `history`. This synchronises with the device.

        Raises:
            TrainingError: a loss of this epoch is not finite, and the run does not go back to an earlier epoch.
        """
        if self.context.config.on_nan != "rollback":
            self._watch.require_finite(step.phase, step.epoch)
        self.history.read(step, self.monitored())

    def _train(self, stage: Stage) -> Iterator[Step]:
        self._watch = EpochWatch.of(self.context, stage.phase, self.pairs, self, self.epoch_rule.metric)
        train = self.context.execution.runner(stage.step)
        for epoch in self._remaining(stage):
            done = self._begin(stage, epoch)
            streams = (self.context.batches(stream, epoch, done) for stream in stage.streams)
            steps = self._last_step(stage, epoch) - done
            train.begin_epoch(steps)
            for index, batches in enumerate(islice(zip(*streams, strict=True), steps), done + 1):
                self.resumable_step = None
                self.resumable_step = step = self._record(stage, epoch, index, train(*batches))
                yield step
        self.resumable_step = None
        for stream in stage.streams:
            self.context.loader.close(stream)

    def _remaining(self, stage: Stage) -> range:
        """Return the epochs of a stage that are still to be trained: all, or in a resumed run those that are not over."""
        if not self._resumed:
            return range(1, stage.epochs + 1)
        return range(self._resumed["epoch"], stage.epochs + 1) if self._resumed["phase"] == stage.phase else range(0)

    def _begin(self, stage: Stage, epoch: int) -> int:
        """Set the seed and the learning rates of an epoch, and return how many of its steps are done already."""
        self.epoch = epoch
        torch.manual_seed(derive_seed(self.recipe.seed, self.context.ranks.seed_name(f"{stage.phase} {epoch}")))
        done = self._restore() if self._resumed else 0
        self._watch.begin(epoch if done == self._last_step(stage, epoch) else epoch - 1)
        for pair in stage.pairs:
            pair.begin(epoch)
        return done

    def _record(self, stage: Stage, epoch: int, index: int, losses: LossTree) -> Step:
        """Return the record of step `index` of an epoch, counted from 1. Once an epoch, synchronise and check how training goes."""
        steps = self.context.loader.steps
        number, ends_epoch = (epoch - 1) * steps + index, index == self._last_step(stage, epoch)
        losses = averaged(losses, self.context.ranks)
        self._watch.update(number, losses)
        found = self._watch.end_epoch(stage, epoch) if ends_epoch else Findings()
        total = (stage.epochs - 1) * steps + self._last_step(stage, stage.epochs)
        return Step(stage.phase, epoch, stage.epochs, number, total, StepLosses(losses), ends_epoch, found.metrics, found.warnings)

    def _last_step(self, stage: Stage, epoch: int) -> int:
        """Return the number of steps of an epoch of a stage."""
        steps = self.context.loader.steps
        return steps if stage.most_steps is None else min(steps, stage.most_steps - (epoch - 1) * steps)

    def state_dict(self) -> dict[str, Any]:
        """Return references to everything that training changes, as nested plain values and tensors."""
        return {
            "pairs": {role: pair.state_dict() for role, pair in self.pairs.items()},
            "pools": {role: pair.pools_state_dict() for role, pair in self.pairs.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load a copy of what `state_dict` returned."""
        for role, pair in self.pairs.items():
            pair.load_state_dict(state["pairs"][role])
            pair.load_pools_state_dict(state["pools"][role])

    def checkpoint(self, step: Step) -> CheckpointState:
        """Return references to the complete state after a step, from which the run continues as if it had never stopped.

        Every rank must call this. The main process gets the whole state.
        """
        return {
            "format": FORMAT,
            "arch": self.arch,
            "recipe": self.recipe.to_dict(),
            "teacher": self.context.teacher.digests,
            "networks": self.architecture.describe_networks(),
            "samples": len(self.context.data.train),
            "phase": str(step.phase),
            "epoch": step.epoch,
            "done": step.number - (step.epoch - 1) * self.context.loader.steps,
            "state": self.state_dict(),
            **self._watch.state_dict(),
            "history": self.history.state_dict(),
            "ranks": self.context.ranks.gather_object(self._rank_state()),
        }

    def resume(self, checkpoint: CheckpointState) -> None:
        """Store a checkpoint for `steps` to continue from. `_begin` restores it when the first unfinished epoch begins.

        Raises:
            RunError: the checkpoint belongs to another recipe, other data or another version.
        """
        require_resumable(checkpoint, self.context)
        self._resumed = checkpoint

    def _rank_state(self) -> dict[str, Any]:
        """Return references to the state that this rank has for itself."""
        good = self.collapse.state_dict()["last_good_state"] if self.collapse else {}
        return {
            "pools": self.state_dict()["pools"],
            "last_good_pools": good and good["pools"],
            "random": random_states(self.context.device),
        }

    def _restore(self) -> int:
        """Load the checkpoint that the run resumes from, and return how many steps of the epoch are done."""
        checkpoint, self._resumed = self._resumed, {}
        ranks = checkpoint["ranks"]
        try:
            own = ranks[self.context.ranks.rank] if len(ranks) == self.context.ranks.world else {}
            checkpoint = _with_pools(checkpoint, own) if own else checkpoint
            self.load_state_dict(checkpoint["state"])
            self._watch.load_state_dict(checkpoint)
            # Checkpoints of earlier versions lack this one.
            if history := checkpoint.get("history"):
                self.history.load_state_dict(on_device(history, self.context.device))
            if own:
                restore_random(own["random"], self.context.device)
        except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise RunError(
                f"the checkpoint does not fit the run, though its recipe does ({first_line(error).rstrip(':')}): resume it with the "
                "version of gcc that began it, or start a new run"
            ) from error
        return int(checkpoint["done"])


def _with_pools(checkpoint: CheckpointState, own: Mapping[str, Any]) -> CheckpointState:
    """Return a checkpoint with the image pools of one rank, from `TrainingLoop._rank_state`, in place of the main process's."""
    collapse = checkpoint["collapse"]
    if collapse and (good := collapse["last_good_state"]):
        collapse = {**collapse, "last_good_state": {**good, "pools": own["last_good_pools"]}}
    return {**checkpoint, "state": {**checkpoint["state"], "pools": own["pools"]}, "collapse": collapse}
