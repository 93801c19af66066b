"""A call of an operator as its rule sees it: arguments with channel layouts in place of tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gcc.pruning.graph.channel_ids import Atoms, Axis, Layout

RuleOutput = Layout | list[Layout]
"""The layout of an operator's output, or one layout for each of its outputs."""


@dataclass
class Roles:
    """What layers do with atoms, apart from tying them.

    Attributes:
        outputs: the output dimensions of the weights of convolutions, linear layers and embeddings.
        scales: the dimensions of the scales of norms.
        linear_inputs: the input of each linear layer, by the first atom of its output.
    """

    outputs: list[Axis] = field(default_factory=list)
    scales: list[Axis] = field(default_factory=list)
    linear_inputs: dict[int, Axis] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """One call of an operator in the graph.

    Attributes:
        name: name of the operator, without namespace, overload and the underscore of an in-place operator.
        arguments: arguments by their name in the schema, including defaults, with layouts for tensors.
        shapes: shapes of the output tensors.
        atoms: the network's atoms.
        roles: the roles of these atoms.
    """

    name: str
    arguments: Mapping[str, Any]
    shapes: Sequence[Sequence[int]]
    atoms: Atoms
    roles: Roles

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    @property
    def shape(self) -> Sequence[int]:
        """The shape of the output."""
        return self.shapes[0]

    @property
    def tensors(self) -> list[Layout]:
        """The layouts of all tensors among the arguments, including those in lists."""
        values = [item for value in self.arguments.values() for item in (value if isinstance(value, list) else [value])]
        return [value for value in values if isinstance(value, tuple)]

    def tie(self, axis: Axis, *others: str, dim: int = 0) -> None:
        """Tie a dimension to that of other arguments, if they are not None."""
        for name in others:
            if self.arguments[name] is not None:
                self.atoms.tie(axis, self.arguments[name][dim])


Rule = Callable[[Call], RuleOutput]
