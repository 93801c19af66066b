"""What a report shows of one run, part by part; a part that the run has not is empty."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from gcc.artifacts.comparison import Measurements, by_protocol, comparison, cost_title, latency_title, quality_title
from gcc.artifacts.config import Artifact
from gcc.pruning.budget import Budget, LatencyBudget
from gcc.pruning.cost import Cost
from gcc.recipe import MacCounter
from gcc.report.markup import Html, joined, tag
from gcc.report.run_record import Grid, RunRecord
from gcc.utils.units import with_prefix

COSTS = {"exact_macs": "MACs, exact", "paper_macs": "MACs, paper's counter", "parameters": "parameters", "ready_ms": "latency"}


def about(record: RunRecord) -> Html:
    """Return what the run is, in a line."""
    recipe = record.recipe
    told = [
        record.arch,
        f"{recipe['size']} pixels" if "size" in recipe else "",
        f"{recipe['epochs']} {'epoch' if recipe['epochs'] == 1 else 'epochs'}" if "epochs" in recipe else "",
        f"seed {recipe['seed']}" if "seed" in recipe else "",
        record.state,
    ]
    return tag("ul", *(tag("li", text) for text in told if text), class_="about")


def summary(record: RunRecord) -> Html:
    """Return the costs, latency and quality of every generator: teacher, student and budget side by side."""
    measured = {name: artifact for name, artifact in record.saved.items() if artifact.measurements}
    heads = {name: tag("h3", f"Generator {name}") if len(measured) > 1 else "" for name in measured}
    return joined(*(joined(heads[name], _tiles(artifact), _table(artifact), _protocols(artifact)) for name, artifact in measured.items()))


def samples(record: RunRecord) -> Html:
    """Return the sample grids: the held-out one, and some on the way there."""
    if record.samples is None:
        return Html()
    on_the_way = [grid for grid in record.progress if grid.png != record.samples.png]
    return tag("div", _picture(record.samples), tag("div", *map(_picture, on_the_way), class_="progress"), class_="samples")


def pruning(record: RunRecord) -> Html:
    """Return a bar per layer of every student generator with the share of its channels that was pruned (Figure III)."""
    heads = {name: tag("h3", f"Generator {name}") if len(record.students) > 1 else "" for name in record.students}
    bars = [tag("div", heads[name], _bars(student)) for name, student in record.students.items()]
    return tag("div", *bars, class_="generators") if bars else Html()


def recipe(record: RunRecord, differing: set[str]) -> Html:
    """Return the fields of the recipe, those that differ between runs in bold."""
    return _facts({name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in record.recipe.items()}, differing)


def environment(record: RunRecord) -> Html:
    """Return the versions and the device of the run, as its generators tell them."""
    told = [artifact.environment for artifact in record.saved.values() if artifact.environment]
    return _facts(told[0], set()) if told else Html()


def _budget(artifact: Artifact) -> Budget | LatencyBudget | None:
    """Return what a generator was compressed to, if it was."""
    if artifact.role != "student" or not {"teacher", "student"} <= artifact.measurements.keys():
        return None
    budget = Budget.parse_each(artifact.recipe.budget, artifact.architecture.generators)[artifact.generator]
    # An unusual file may not tell what its budget limits.
    told = all(limited(budget, artifact.recipe.mac_counter) in figures for figures in artifact.measurements.values())
    return budget if told else None


def _tiles(artifact: Artifact) -> Html:
    """Return what matters most of a student: shares of its teacher's costs, speed, and the figure that chose the best epoch."""
    budget = _budget(artifact)
    if budget is None:
        return Html()
    teacher, student = artifact.measurements["teacher"], artifact.measurements["student"]
    cells = comparison({"teacher": teacher, "student": student})
    first = limited(budget, artifact.recipe.mac_counter)
    second = "exact_macs" if first == "parameters" else "parameters"
    tiles = []
    for key, note in ((first, f"; budget {limit(budget, artifact.recipe.mac_counter, teacher)}"), (second, "")):
        theirs, own = cells[cost_title(teacher, key)]
        share = f"{_ratio(student[key], teacher[key]):.1%}"
        tiles.append(_tile(share, f"of the teacher's {COSTS[key]}", f"{_bare(own)}, teacher {theirs}{note}"))
    theirs, own = cells[latency_title(teacher)]
    tiles.append(_tile(f"{_ratio(teacher['latency_ms'], student['latency_ms']):.1f}x", "as fast", f"{_bare(own)}, teacher {theirs}"))
    for metric in list(teacher["metrics"])[:1]:
        theirs, own = cells[quality_title(metric)]
        tiles.append(_tile(own, quality_title(metric), f"teacher {theirs}"))
    return tag("div", *tiles, class_="tiles")


def _bare(cell: str) -> str:
    """Return a cell of a comparison without what is in brackets."""
    return cell.partition(" (")[0]


def _ratio(one: float, other: float) -> float:
    return one / other if other else float("nan")


def _tile(value: str, label: str, note: str) -> Html:
    return tag("div", tag("strong", value), tag("span", label), tag("small", note), class_="tile")


def _table(artifact: Artifact) -> Html:
    sides, budget = artifact.measurements, _budget(artifact)
    rows, heads = comparison(sides), list(sides)
    if budget is not None:
        teacher, counter = sides["teacher"], artifact.recipe.mac_counter
        reached = cost_title(teacher, limited(budget, counter))
        rows = {title: [*cells, limit(budget, counter, teacher) if title == reached else ""] for title, cells in rows.items()}
        heads.append("budget")
    header = tag("tr", tag("td"), *(tag("th", head, scope="col", class_=head.partition(" ")[0]) for head in heads))
    body = (tag("tr", tag("th", title, scope="row"), *(tag("td", cell) for cell in cells)) for title, cells in rows.items())
    return _scrolling(tag("table", tag("thead", header), tag("tbody", *body), class_="figures"), "Costs, latency and quality")


def _protocols(artifact: Artifact) -> Html:
    told = by_protocol(artifact.measurements.values())
    return joined(*(tag("p", tag("b", ", ".join(titles)), f": {text}", class_="protocol") for text, titles in told.items()))


def _picture(grid: Grid) -> Html:
    data = f"data:image/png;base64,{base64.b64encode(grid.png).decode()}"
    image = tag("img", src=data, width=grid.width, height=grid.height, alt=f"Sample grid, {grid.title}")
    return tag("figure", image, tag("figcaption", grid.title), class_="grid")


def _bars(student: Artifact) -> Html:
    """Return a table of bars; the figures stand beside them, so that nothing depends on seeing the bar."""
    full = student.architecture.full_widths(student.recipe.prune_width)
    rows = []
    for name, channels in full.items():
        pruned = max(0.0, 1 - student.widths[name] / channels)
        bar = tag("span", tag("i", style=f"width:{100 * pruned:.1f}%"), class_="bar")
        cells = tag("td", bar), tag("td", f"{pruned:.0%}"), tag("td", f"{student.widths[name]}/{channels}")
        rows.append(tag("tr", tag("th", name, scope="row"), *cells))
    heads = (tag("th", head, scope="col") for head in ("", "pruned", "kept"))
    header = tag("tr", tag("th", "layer", scope="col"), *heads)
    return _scrolling(tag("table", tag("thead", header), tag("tbody", *rows), class_="bars"), f"Pruned channels of {student.generator}")


def _scrolling(table: Html, label: str) -> Html:
    """Return a table in a box that scrolls where the page is narrow, by keyboard too."""
    return tag("div", table, class_="scroll", tabindex=0, role="region", aria_label=label)


def _facts(facts: Mapping[str, str], bold: set[str]) -> Html:
    pairs = (tag("div", tag("dt", name), tag("dd", tag("b", value) if name in bold else value)) for name, value in facts.items())
    return tag("dl", *pairs, class_="facts")


def limited(budget: Budget | LatencyBudget, counter: MacCounter) -> str:
    """Return which cost a budget limits: `exact_macs`, `paper_macs`, `parameters` or `ready_ms`."""
    if isinstance(budget, LatencyBudget):
        return "ready_ms"
    return "parameters" if budget.quantity == "params" else f"{counter}_macs"


def limit(budget: Budget | LatencyBudget, counter: MacCounter, teacher: Measurements) -> str:
    """Return the most that a student may cost, as the cell of a table."""
    if isinstance(budget, LatencyBudget):
        return f"at most {budget.milliseconds:.4g} ms"
    cost = Cost(teacher["exact_macs"], teacher["paper_macs"], teacher["parameters"], teacher["resolution"])
    share = f" ({100 * budget.amount:.4g}%)" if budget.share else ""
    return f"at most {with_prefix(budget.limit(cost, counter))}{share}"
