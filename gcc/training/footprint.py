"""How much a run needs before it starts: bytes on disk, and memory for its weights."""

from __future__ import annotations

from itertools import chain

from torch import nn

from gcc.errors import GccError
from gcc.evaluation.grid import GRID_SAMPLES
from gcc.models.build import generators_on_meta
from gcc.models.modules import on_meta
from gcc.recipe import image_size
from gcc.training.context import RunContext
from gcc.utils.memory import free_memory


def bytes_written(context: RunContext) -> int:
    """Return about how many bytes a run saves beside its checkpoints."""
    recipe = context.recipe
    # The best epoch and the last.
    copies = 2 if recipe.evaluators else 1
    columns = 2 + len(context.architecture.generators) * 2
    width, height = image_size(recipe)
    grids = (recipe.pretrain_epochs + recipe.epochs) * GRID_SAMPLES * columns * 3 * width * height
    # A student is no larger than its teacher, and the report contains the grids once more.
    return 2 * copies * _bytes_of_pair(context) + grids


def bytes_of_checkpoint(context: RunContext) -> int:
    """Return about how many bytes a checkpoint takes: weights, Adam's two moments and the best epoch, for two pairs."""
    return 2 * (3 + bool(context.recipe.evaluators)) * _bytes_of_pair(context)


def require_memory(context: RunContext) -> None:
    """Refuse a teacher pair that exceeds the free memory with its Adam states; a downloaded recipe may request any width.

    Raises:
        GccError: they do not fit.
    """
    needed, free = 3 * _bytes_of_pair(context), free_memory(context.device)
    if free is not None and needed > free:
        fix = "a smaller generator, or a lower `ndf=...`" if context.architecture.has_one_width else "lower `ngf=...` and `ndf=...`"
        raise GccError(f"the teacher pair and its optimizers need {needed / 1e9:.1f} GB, but {free / 1e9:.1f} GB are free: give {fix}")


def networks_on_meta(context: RunContext) -> list[nn.Module]:
    """Return the teacher's networks without values."""
    architecture = context.architecture
    return [
        *generators_on_meta(architecture, context.full_widths(context.recipe.ngf)).values(),
        *(on_meta(architecture.for_network(name).build_discriminator) for name in architecture.discriminators),
    ]


def _bytes_of_pair(context: RunContext) -> int:
    """Return the bytes of the teacher pair's weights."""
    weights = chain.from_iterable(network.parameters() for network in networks_on_meta(context))
    return sum(parameter.numel() * parameter.element_size() for parameter in weights)
