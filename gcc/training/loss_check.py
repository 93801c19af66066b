"""Runs a user's losses once before training, which finds their mistakes at once."""

from __future__ import annotations

from gcc.custom.gan import CustomGAN, checked_losses
from gcc.errors import GccError, first_line
from gcc.models.modules import evaluating
from gcc.registry import Networks
from gcc.training.context import RunContext, Stream
from gcc.utils.backend import is_out_of_memory
from gcc.utils.seeds import random_states, restore_random

SAMPLES = 2
"""The samples of a batch that the losses are run on."""


def require_usable_losses(context: RunContext, generators: Networks) -> None:
    """Refuse losses of the user's own that fail for the first samples, or are not finite.

    Args:
        context: what the run works with; its data are prepared.
        generators: the generators, on the CPU.

    Raises:
        GccError: the losses raise an error, return something else than losses, are not finite, or do not depend on the generator's output.
    """
    architecture = context.architecture
    if not isinstance(architecture, CustomGAN) or architecture.networks.losses is None:
        return
    (network,) = generators.values()
    batch = {key: tensor[:SAMPLES] for key, tensor in next(context.batches(Stream.TRAIN, 1)).items()}
    context.loader.close(Stream.TRAIN)
    with evaluating(network):
        samples = architecture.generate({"G": network}, {key: tensor.cpu() for key, tensor in batch.items()})
    (fake,) = (sample.detach().to(context.device).requires_grad_() for sample in samples.values())
    states = random_states(context.device)
    try:
        losses = architecture.networks.losses(fake, batch)
    except Exception as error:  # It is the user's code, which may raise anything.
        if is_out_of_memory(error):
            raise
        given = f"the generator's output, {tuple(fake.shape)}, and the batch, a dict of {', '.join(map(repr, batch))}"
        raise GccError(f"losses raised {type(error).__name__}: {first_line(error)}; expected a function of {given}") from error
    finally:
        restore_random(states, context.device)
    checked = checked_losses(losses)
    if not any(loss.requires_grad for loss in checked.values()):
        returned = f"{', '.join(checked)} without" if checked else "nothing with"
        raise GccError(
            f"losses returned {returned} a gradient: expected at least one loss that "
            "torch computes from the generator's output, without detaching it, `torch.no_grad` or NumPy"
        )
    if broken := [name for name, loss in checked.items() if not loss.isfinite()]:
        raise GccError(
            f"losses returned {', '.join(broken)} = {losses[broken[0]].item()} for the first training images: expected finite numbers; "
            "correct the function, for example where it divides or takes a logarithm or a root"
        )
