"""Budgets: the most that a student generator may cost."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gcc.deploy.runtime_names import runtime_names
from gcc.errors import BudgetError, budget_suggestion, suggestion
from gcc.utils.units import EXPONENTS, with_prefix

if TYPE_CHECKING:
    from gcc.pruning.cost import Cost
    from gcc.recipe import MacCounter


PATTERN = re.compile(r"(-?[0-9]+(?:\.[0-9]*)?|-?\.[0-9]+)\s*([KMGT%])\s*(params)?", re.IGNORECASE | re.ASCII)
LATENCY_PATTERN = re.compile(r"(-?[0-9]+(?:\.[0-9]*)?|-?\.[0-9]+)\s*ms\s*@\s*([\w-]+)", re.ASCII)
FORMS = (
    "`3.0G` or `900M` (MACs per sample), `25%` (of the full generator's MACs), `2.5Mparams`, `25%params`, or `8ms@cpu` "
    "(or cuda, onnxruntime, openvino, ncnn, ncnn-vulkan, litert, litert-gpu, torchscript, pt2)"
)


@dataclass(frozen=True)
class Limit:
    """A budget in numbers, for a given teacher and MACs counter.

    Attributes:
        value: the most that `measure` may return.
        unit: what is limited, for messages, such as "MACs (paper counter) at 1x3x256x256".
        measure: returns the limited quantity of a cost.
    """

    value: float
    unit: str
    measure: Callable[[Cost], float]


@dataclass(frozen=True)
class Budget:
    """An upper limit on a generator's MACs or parameters.

    Attributes:
        amount: MACs per sample or parameters; if `share` is set, a share of the teacher's in (0, 1].
        share: whether `amount` is a share of the teacher's cost.
        quantity: what is limited.
    """

    amount: float
    share: bool
    quantity: Literal["macs", "params"]

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Parse a budget such as `3.0G`, `900M`, `25%`, `2.5Mparams` or `25%params`; K, M, G and T are powers of 1000.

        Raises:
            BudgetError: the text has none of these forms, or the number is 0, not finite, or a share above 100%.

        >>> Budget.parse("2.5Mparams")
        Budget(amount=2500000.0, share=False, quantity='params')
        """
        match = PATTERN.fullmatch(text.strip())
        if match is None:
            raise BudgetError(f"budget {text!r}{_suggested(text)}: expected {FORMS}")
        number, unit, params = match.groups()
        share = unit == "%"
        # Python reads the decimal exponent exactly; a product with 1e9 would round.
        amount = float(number) / 100 if share else float(f"{number}e{EXPONENTS[unit.upper()]}")
        if not 0 < amount < math.inf or (share and amount > 1):
            raise BudgetError(f"budget {text!r}: expected a number above 0, and a share up to 100%, as in {FORMS}")
        return cls(amount, share, "params" if params else "macs")

    @classmethod
    def parse_each(cls, text: str, generators: Sequence[str]) -> dict[str, Budget | LatencyBudget]:
        """Return the budget of every generator by name; `text` has one budget for all of them, or one for each in order, joined by commas.

        Raises:
            BudgetError: the number of budgets does not match the number of generators, or one of them is malformed.

        >>> Budget.parse_each("2.4G,8ms@cpu", ["A2B", "B2A"])["B2A"]
        LatencyBudget(milliseconds=8.0, runtime='cpu')
        """
        if not isinstance(text, str):
            raise BudgetError(f"budget {text!r}{budget_suggestion(text)}: expected text such as {FORMS}")
        parts = text.split(",")
        if len(parts) not in (1, len(generators)):
            alternative = f", or {len(generators)} joined by commas for {', '.join(generators)}" if len(generators) > 1 else ""
            raise BudgetError(f"budget {text!r}: expected one budget{alternative}")
        budgets = [LatencyBudget.parse(part) if "@" in part else cls.parse(part) for part in parts]
        return dict(zip(generators, budgets if len(parts) > 1 else budgets * len(generators), strict=True))

    def measure(self, cost: Cost, counter: MacCounter) -> int:
        """Return the part of `cost` that this budget limits."""
        if self.quantity == "params":
            return cost.parameters
        return cost.macs if counter == "exact" else cost.paper_macs

    def limit(self, teacher: Cost, counter: MacCounter) -> float:
        """Return the most that `measure` may return for the student, given the teacher's cost."""
        return self.amount * self.measure(teacher, counter) if self.share else self.amount

    def resolve(self, teacher: Cost, counter: MacCounter) -> Limit:
        """Return this budget in numbers, given the teacher's cost."""
        unit = self.unit(counter) + (f" at {teacher.resolution}" if self.quantity == "macs" else "")
        return Limit(self.limit(teacher, counter), unit, lambda cost: self.measure(cost, counter))

    def unit(self, counter: MacCounter) -> str:
        """Return what the budget limits, with the counter: `MACs (paper counter)`."""
        return "parameters" if self.quantity == "params" else f"MACs ({counter} counter)"

    def plan(self, teacher: Cost, counter: MacCounter) -> str:
        """Describe the budget in words and as a number."""
        return f"{self.describe(counter)}: {with_prefix(self.limit(teacher, counter))}"

    def describe(self, counter: MacCounter) -> str:
        """Describe the budget in words.

        >>> Budget.parse("3.0G").describe("paper")
        '3 G MACs (paper counter)'
        >>> Budget.parse("25%").describe("exact")
        "25% of the teacher's MACs (exact counter)"
        """
        if self.share:
            return f"{100 * self.amount:.4g}% of the teacher's {self.unit(counter)}"
        return f"{with_prefix(self.amount)} {self.unit(counter)}"


@dataclass(frozen=True)
class LatencyBudget:
    """An upper limit on the time that a generator, optimised for inference, takes for one sample on this machine.

    Attributes:
        milliseconds: the median over several forward passes.
        runtime: where they run.
    """

    milliseconds: float
    runtime: str

    @classmethod
    def parse(cls, text: str) -> LatencyBudget:
        """Parse a budget such as `8ms@cpu` or `2.5ms@onnxruntime`.

        Raises:
            BudgetError: the text does not have this form, or the number is 0 or not finite.

        >>> LatencyBudget.parse("8ms@cpu")
        LatencyBudget(milliseconds=8.0, runtime='cpu')
        """
        match = LATENCY_PATTERN.fullmatch(text.strip())
        if match is None:
            raise BudgetError(f"budget {text!r}: expected {FORMS}")
        milliseconds = float(match[1])
        if not 0 < milliseconds < math.inf:
            raise BudgetError(f"budget {text!r}: expected a number above 0, as in {FORMS}")
        if match[2] not in runtime_names():
            raise BudgetError(f"budget {text!r}: runtime {match[2]!r} is unknown{suggestion(match[2], runtime_names())}; expected {FORMS}")
        return cls(milliseconds, match[2])

    def resolve(self, teacher: Cost, counter: MacCounter) -> LatencyBudget:
        """Return this budget itself: a latency depends on neither the teacher nor the counter."""
        return self

    def plan(self, teacher: Cost, counter: MacCounter) -> str:
        """Describe the budget in words."""
        return f"{self.milliseconds:.4g} ms for one sample by {self.runtime}, as measured on this machine"


def _suggested(text: str) -> str:
    """Return `` (did you mean '8ms@cpu'?)`` for a text that is a number, or lacks the end of a budget; empty for others."""
    if LATENCY_PATTERN.fullmatch(f"{text.strip()}@cpu"):
        return f" (did you mean '{text.strip()}@cpu'?)"
    if PATTERN.fullmatch(f"{text.strip()}s"):
        return f" (did you mean '{text.strip()}s'?)"
    try:
        return budget_suggestion(float(text))
    except ValueError:
        return ""
