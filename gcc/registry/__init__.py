"""The plugin registries: five kinds of plugin, each found through an entry-point group of the same name.

| kind | entry-point group | contract |
|---|---|---|
| GAN architecture | `gcc.architectures` | `Architecture` |
| importance metric | `gcc.metrics` | `ImportanceMetric` |
| distillation-layer selector | `gcc.selectors` | `LayerSelector` |
| data set | `gcc.datasets` | `SampleSource` |
| evaluator | `gcc.evaluators` | `ImageEvaluator` or `SetEvaluator` |

These groups stand for contract 1. A change that breaks plugins of a kind gives its contract the next number, in which its group then ends,
such as `gcc.metrics.2`: plugins of either are told apart without being imported.
"""

from __future__ import annotations

from typing import Any

from gcc.registry.architecture import Architecture as Architecture
from gcc.registry.conformance import implements
from gcc.registry.dataset import SampleSource as SampleSource
from gcc.registry.evaluator import Evaluator as Evaluator
from gcc.registry.evaluator import Extractor as Extractor
from gcc.registry.evaluator import ImageEvaluator as ImageEvaluator
from gcc.registry.evaluator import SetEvaluator as SetEvaluator
from gcc.registry.evaluator import Surroundings as Surroundings
from gcc.registry.importance import ImportanceMetric as ImportanceMetric
from gcc.registry.registry import Listing as Listing
from gcc.registry.registry import Registry as Registry
from gcc.registry.selector import LayerSelector as LayerSelector
from gcc.registry.types import Batch as Batch
from gcc.registry.types import Foreign as Foreign
from gcc.registry.types import Gate as Gate
from gcc.registry.types import Group as Group
from gcc.registry.types import Judged as Judged
from gcc.registry.types import Networks as Networks
from gcc.registry.types import Pair as Pair
from gcc.registry.types import Producer as Producer
from gcc.registry.types import Samples as Samples
from gcc.registry.types import Taps as Taps
from gcc.registry.types import Width as Width
from gcc.registry.types import no_gate as no_gate

ARCHITECTURES: Registry[type[Architecture[Any]]] = Registry("architecture", "gcc.architectures", implements(Architecture))
METRICS: Registry[type[ImportanceMetric]] = Registry("metric", "gcc.metrics", implements(ImportanceMetric))
SELECTORS: Registry[type[LayerSelector]] = Registry("selector", "gcc.selectors", implements(LayerSelector))
DATASETS: Registry[type[SampleSource]] = Registry("data set", "gcc.datasets", implements(SampleSource))
EVALUATORS: Registry[type[Evaluator]] = Registry("evaluator", "gcc.evaluators", implements(ImageEvaluator, SetEvaluator))

REGISTRIES: tuple[Registry[Any], ...] = (ARCHITECTURES, METRICS, SELECTORS, DATASETS, EVALUATORS)
