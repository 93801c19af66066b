"""The plugin registries: seven kinds of plugin, each found through an entry-point group of the same name.

| kind | entry-point group | contract |
|---|---|---|
| GAN architecture | `gcc.architectures` | `Architecture` |
| importance metric | `gcc.metrics` | `ImportanceMetric` |
| distillation-layer selector | `gcc.selectors` | `LayerSelector` |
| distiller, a term of the student's loss | `gcc.distillers` | `Distiller` |
| dataset | `gcc.datasets` | `DatasetSource` |
| evaluator | `gcc.evaluators` | `ImageEvaluator` or `SetEvaluator` |
| runtime of exported files | `gcc.runtimes` | `Runtime` |

These groups are for version 1 of each contract. A change that breaks plugins of one kind gives its contract the next number, and its group
that suffix, such as `gcc.metrics.2`. The version of a plugin is therefore known without importing it.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from gcc.registry.architecture import Architecture as Architecture
from gcc.registry.conformance import implements
from gcc.registry.dataset import DatasetSource as DatasetSource
from gcc.registry.distiller import Distiller as Distiller
from gcc.registry.distiller import GeneratorView as GeneratorView
from gcc.registry.evaluator import EvalContext as EvalContext
from gcc.registry.evaluator import Evaluator as Evaluator
from gcc.registry.evaluator import Extractor as Extractor
from gcc.registry.evaluator import ImageEvaluator as ImageEvaluator
from gcc.registry.evaluator import SetEvaluator as SetEvaluator
from gcc.registry.importance import ImportanceMetric as ImportanceMetric
from gcc.registry.registry import Listing as Listing
from gcc.registry.registry import Registry as Registry
from gcc.registry.runtime import Inputs as Inputs
from gcc.registry.runtime import QuantizingRuntime as QuantizingRuntime
from gcc.registry.runtime import Runtime as Runtime
from gcc.registry.selector import LayerSelector as LayerSelector
from gcc.registry.types import Batch as Batch
from gcc.registry.types import EvalSample as EvalSample
from gcc.registry.types import Gate as Gate
from gcc.registry.types import Group as Group
from gcc.registry.types import MetricKey as MetricKey
from gcc.registry.types import Networks as Networks
from gcc.registry.types import Pair as Pair
from gcc.registry.types import Producer as Producer
from gcc.registry.types import Samples as Samples
from gcc.registry.types import StateDictMapping as StateDictMapping
from gcc.registry.types import Taps as Taps
from gcc.registry.types import Width as Width
from gcc.registry.types import no_gate as no_gate

if TYPE_CHECKING:
    from gcc.registry.stored_weights import effective_gradient as effective_gradient
    from gcc.registry.stored_weights import effective_weight as effective_weight

ARCHITECTURES: Registry[type[Architecture[Any]]] = Registry("architecture", "gcc.architectures", implements(Architecture))
TASKS: Registry[type[Architecture[Any]]] = Registry("task", "gcc.tasks", implements(Architecture))
"""The families of networks that users bring, by task; `gcc.custom.gan.CustomGAN` is their base."""
METRICS: Registry[type[ImportanceMetric]] = Registry("metric", "gcc.metrics", implements(ImportanceMetric))
SELECTORS: Registry[type[LayerSelector]] = Registry("selector", "gcc.selectors", implements(LayerSelector))
DISTILLERS: Registry[type[Distiller]] = Registry("distiller", "gcc.distillers", implements(Distiller))
DATASETS: Registry[type[DatasetSource]] = Registry("dataset", "gcc.datasets", implements(DatasetSource))
EVALUATORS: Registry[type[Evaluator]] = Registry(
    "evaluator", "gcc.evaluators", implements(ImageEvaluator, SetEvaluator), renamed={"miou_judge": "miou_small"}
)
RUNTIMES: Registry[type[Runtime]] = Registry("runtime", "gcc.runtimes", implements(Runtime))


def unit_of(key: MetricKey) -> str:
    """Return the unit of a metric, such as "dB"; an empty string if it has none or its evaluator is not installed."""
    name = EVALUATORS.current_name(key.evaluator)
    return EVALUATORS.load(name).unit if name in EVALUATORS.names() else ""


def registry_of(arch: str) -> Registry[type[Architecture[Any]]]:
    """Return the registry of a family's name: that of the tasks for networks that a user brings, or that of the architectures."""
    return TASKS if arch in TASKS.names() else ARCHITECTURES


REGISTRIES: tuple[Registry[Any], ...] = (ARCHITECTURES, TASKS, METRICS, SELECTORS, DISTILLERS, DATASETS, EVALUATORS, RUNTIMES)

RENAMED = {"Foreign": "StateDictMapping", "Judged": "EvalSample", "SampleSource": "DatasetSource", "Surroundings": "EvalContext"}
"""Present names of types by those that they had in version 0.1."""


def __getattr__(name: str) -> Any:
    if name in ("effective_gradient", "effective_weight"):
        # Reading weights needs torch; listing plugins does not.
        from gcc.registry import stored_weights

        return getattr(stored_weights, name)
    if name not in RENAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"gcc.registry.{name} is now called {RENAMED[name]}", DeprecationWarning, stacklevel=2)
    return globals()[RENAMED[name]]
