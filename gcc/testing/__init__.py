"""Contract checks for authors of plugins; call one in your own tests.

```python
from gcc.testing import check_architecture

def test_contract(tmp_path):
    check_architecture("my-gan", tmp_path)
```
"""

from __future__ import annotations

from gcc.testing.architecture import check_architecture, check_artifact, check_family, check_inputs, check_step
from gcc.testing.distiller import check_distiller, check_distiller_losses
from gcc.testing.gates import check_gates
from gcc.testing.metric import check_metric, check_scores
from gcc.testing.runtime import check_runtime
from gcc.testing.selector import check_layers, check_selector
from gcc.testing.widths import check_costs_fall, check_groups, check_widths, check_zero_widths

__all__ = [
    "check_architecture",
    "check_artifact",
    "check_costs_fall",
    "check_distiller",
    "check_distiller_losses",
    "check_family",
    "check_gates",
    "check_groups",
    "check_inputs",
    "check_layers",
    "check_metric",
    "check_runtime",
    "check_scores",
    "check_selector",
    "check_step",
    "check_widths",
    "check_zero_widths",
]
