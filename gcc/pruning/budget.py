"""Budgets: what a student generator may cost."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gcc.deploy.runtime_names import RUNTIMES, Runtime
from gcc.errors import BudgetError
from gcc.utils.units import EXPONENTS, with_prefix

if TYPE_CHECKING:
    from gcc.pruning.cost import Cost
    from gcc.recipe import MacCounter


FORM = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([KMGT%])\s*(params)?", re.IGNORECASE | re.ASCII)
LATENCY_FORM = re.compile(rf"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*ms\s*@\s*({'|'.join(RUNTIMES)})", re.ASCII)
FORMS = "`3.0G` or `900M` (MACs per sample), `25%` (of the teacher's MACs), `2.5Mparams`, `25%params`, or `8ms@cpu` (cuda, onnxruntime)"


@dataclass(frozen=True)
class Budget:
    """An upper limit on a generator's MACs or parameters.

    Attributes:
        amount: MACs per sample or parameters; a share of the teacher's, in (0, 1], where `share` is set.
        share: whether `amount` is a share of the teacher's cost.
        quantity: what is limited.
    """

    amount: float
    share: bool
    quantity: Literal["macs", "params"]

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Return the budget that `text` says, such as `3.0G`, `900M`, `25%`, `2.5Mparams` or `25%params`; K, M, G, T are powers of 1000.

        Raises:
            BudgetError: the text has none of these forms, or the number is 0, not finite, or a share above 100%.

        >>> Budget.parse("2.5Mparams")
        Budget(amount=2500000.0, share=False, quantity='params')
        """
        match = FORM.fullmatch(text.strip())
        if match is None:
            raise BudgetError(f"budget {text!r}: expected {FORMS}")
        number, unit, params = match.groups()
        share = unit == "%"
        # Python reads the decimal exponent exactly; a product with 1e9 would round.
        amount = float(number) / 100 if share else float(f"{number}e{EXPONENTS[unit.upper()]}")
        if not 0 < amount < math.inf or (share and amount > 1):
            raise BudgetError(f"budget {text!r}: expected a number above 0, and a share up to 100%, as in {FORMS}")
        return cls(amount, share, "params" if params else "macs")

    @classmethod
    def parse_each(cls, text: str, generators: Sequence[str]) -> dict[str, Budget | LatencyBudget]:
        """Return the budget of every generator: `text` has one for all, or one for each in their order, joined by commas.

        Raises:
            BudgetError: there are more or fewer budgets than generators, or one is malformed.

        >>> Budget.parse_each("2.4G,8ms@cpu", ["A2B", "B2A"])["B2A"]
        LatencyBudget(milliseconds=8.0, runtime='cpu')
        """
        if not isinstance(text, str):
            raise BudgetError(f"budget {text!r}: expected text such as {FORMS}")
        parts = text.split(",")
        if len(parts) not in (1, len(generators)):
            each = f", or {len(generators)} joined by commas for {', '.join(generators)}" if len(generators) > 1 else ""
            raise BudgetError(f"budget {text!r}: expected one budget{each}")
        budgets = [LatencyBudget.parse(part) if "@" in part else cls.parse(part) for part in parts]
        return dict(zip(generators, budgets if len(parts) > 1 else budgets * len(generators), strict=True))

    def measure(self, cost: Cost, counter: MacCounter) -> int:
        """Return the part of `cost` that this budget limits."""
        if self.quantity == "params":
            return cost.parameters
        return cost.macs if counter == "exact" else cost.paper_macs

    def limit(self, teacher: Cost, counter: MacCounter) -> float:
        """Return the most that `measure` of the student may give, for the teacher's cost."""
        return self.amount * self.measure(teacher, counter) if self.share else self.amount

    def unit(self, counter: MacCounter) -> str:
        """Return what the budget counts, with the counter: `MACs (paper counter)`."""
        return "parameters" if self.quantity == "params" else f"MACs ({counter} counter)"

    def plan(self, teacher: Cost, counter: MacCounter) -> str:
        """Return the budget in words and as a number."""
        return f"{self.describe(counter)}: {with_prefix(self.limit(teacher, counter))}"

    def describe(self, counter: MacCounter) -> str:
        """Return the budget in words.

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
    """An upper limit on the time of one sample on this machine, of a generator made ready for inference.

    Attributes:
        milliseconds: the median of the passes.
        runtime: where they run.
    """

    milliseconds: float
    runtime: Runtime

    @classmethod
    def parse(cls, text: str) -> LatencyBudget:
        """Return the budget that `text` says, such as `8ms@cpu` or `2.5ms@onnxruntime`.

        Raises:
            BudgetError: the text has not this form, or the number is 0 or not finite.

        >>> LatencyBudget.parse("8ms@cpu")
        LatencyBudget(milliseconds=8.0, runtime='cpu')
        """
        match = LATENCY_FORM.fullmatch(text.strip())
        milliseconds = float(match[1]) if match else 0.0
        if match is None or not 0 < milliseconds < math.inf:
            raise BudgetError(f"budget {text!r}: expected {FORMS}")
        runtime = next(name for name in RUNTIMES if name == match[2])
        return cls(milliseconds, runtime)

    def plan(self, teacher: Cost, counter: MacCounter) -> str:
        """Return the budget in words."""
        return f"{self.milliseconds:.4g} ms for one sample by {self.runtime}, as measured on this machine"
