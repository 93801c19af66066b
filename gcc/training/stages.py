"""The stages that runs share: a pair that trains by itself, and generators that train before adversarial training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gcc.artifacts.metrics_log import Phase
from gcc.registry import Batch
from gcc.training.context import Stream
from gcc.training.loss_tree import LossTree
from gcc.training.pair import GANPair
from gcc.training.step import Stage


def adversarial_stage(phase: Phase, pair: GANPair, epochs: int, most_steps: int | None) -> Stage:
    """Return the stage in which one pair trains by itself with Eq. 1 and 2 (Algorithm 1, lines 2 to 4).

    Args:
        phase: the phase.
        pair: the pair.
        epochs: the number of epochs.
        most_steps: the number of steps after which the stage ends. None means that every epoch is completed.
    """

    def step(batch: Batch) -> LossTree:
        fake = pair.generate(batch)
        losses = pair.step_D(fake)
        return {"teacher": losses | pair.step_G(fake, pair.discriminate(fake))}

    return Stage(phase, epochs, step, (Stream.SINGLE,), (pair,), most_steps)


def pretraining_stages(phase: Phase, pairs: Mapping[str, GANPair], epochs: int) -> Iterator[Stage]:
    """Yield the pre-training stage of the generators of new pairs, by role, if `epochs` is not 0; reset their optimizers afterwards."""
    if pairs and epochs:

        def step(batch: Batch) -> LossTree:
            return {role: pair.pretrain_step(pair.generate(batch)) for role, pair in pairs.items()}

        yield Stage(phase, epochs, step, (Stream.PRETRAIN,))
    for pair in pairs.values():
        pair.optimizer_G.reset_state()
