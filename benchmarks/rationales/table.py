"""The records as Markdown tables: a table for each data and net, a row for each method, mean ± sd over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from .methods import METHODS, SCHEDULES

__all__ = ["PUBLISHED", "as_markdown", "cell"]

# Accuracy as published for the same decoy: where the shortcut lies, or on rows as they are where it says "clean". Ross
# et al. 2017 and Schramowski et al. 2020 with the perceptron 50-30; the R4 paper with its own net.
PUBLISHED = {
    ("decoy-mnist", "mlp", "plain"): ".5155 (Ross); .639, worst .224 (R4)",
    ("decoy-mnist", "mlp", "rrr"): ".9607 (Ross); .923, worst .854 (R4, untuned)",
    ("decoy-mnist", "mlp", "ibp-ex"): ".931, worst .881 with RRR (R4)",
    ("decoy-mnist", "mlp", "r4"): ".970, worst .948 (R4)",
    ("decoy-mnist", "cnn", "r4"): ".970, worst .948 (R4)",
    ("decoy-fashion", "mlp", "plain"): ".4808 (Schramowski)",
    ("decoy-fashion", "mlp", "rrr"): ".8579 (Schramowski)",
    ("decoy-fashion", "mlp", "ce-noise"): ".8352–.8603, added 1–5 times (Schramowski)",
    ("toy-corners", "mlp", "plain"): "clean .9998 (Ross)",
    ("toy-top", "mlp", "plain"): "clean .9998 (Ross)",
    ("toy-both", "mlp", "plain"): "clean .9998 (Ross)",
    ("toy-corners", "mlp", "rrr"): "clean 1.0000 (Ross)",
    ("toy-top", "mlp", "rrr"): "clean 1.0000 (Ross)",
    ("toy-both", "mlp", "rrr"): "clean .5366 (Ross)",
    ("iris-cancer", "mlp", "plain"): "clean .9155, .8113 (Ross)",
}
COLUMNS = (
    ("clean_test", "clean test", 3),
    ("decoy_test", "decoy test", 3),
    ("worst_class", "worst class", 3),
    ("wr", "WR %", 1),
    ("mass_on_mask", "mass on mask", 3),
    ("swap_sensitivity", "swap sens.", 3),
    ("step_cost", "step cost", 2),
)
NETS = {"mlp": "MLP 50-30", "cnn": "CNN 16–32", "conv5": "CNN 20–50"}


def cell(values: Sequence[float], digits: int) -> str:
    """Return mean ± standard deviation, without leading zeros."""
    known = [value for value in values if value == value]
    if not known:
        return "–"
    text = f"{statistics.fmean(known):.{digits}f}"
    if len(known) > 1:
        text += f" ± {statistics.stdev(known):.{digits}f}"
    return text.replace("0.", ".") if digits == 3 else text


def _span(weights: Sequence[float]) -> str:
    """Write the weights of all seeds: one, the least and the greatest, or none."""
    return "–".join(f"{weight:g}" for weight in sorted({min(weights), max(weights)})) if weights else ""


def as_markdown(records: Sequence[dict[str, Any]]) -> str:
    """Return the tables of all records, in the order of the methods."""
    tables = []
    for data, net in SCHEDULES:
        lines = []
        for method in METHODS:
            found = [r for r in records if (r["data"], r["net"], r["method"]) == (data, net, method)]
            there = [r for r in found if "failed" not in r]
            if not found:
                continue
            figures = [cell([r[name] for r in there], digits) for name, _, digits in COLUMNS]
            diverged = f" ({len(found) - len(there)} diverged)" if len(there) < len(found) else ""
            weights = [r["weight"] for r in found if r["weight"] is not None]
            longer = METHODS[method].longer.get(net)
            named = f"{method} ({SCHEDULES[data, net][0] * longer:g} epochs)" if longer else method
            lines.append([
                named, _span(weights), *figures, f"{len(there)}{diverged}",
                PUBLISHED.get((data, net, method), ""),
            ])  # fmt: skip
        if lines:
            head = ["method", "weight", *(words for _, words, _ in COLUMNS), "seeds", "published"]
            epochs, lr = SCHEDULES[data, net]
            title = f"### {data}, {NETS[net]} ({epochs} epochs, peak learning rate {lr:g})"
            if data == "toy-both":
                title += "\n\nAll that tells the classes is forbidden: who obeys is at chance on the clean test, too."
            rows = [head, ["---"] * len(head), *lines]
            tables.append(title + "\n\n" + "\n".join("| " + " | ".join(row) + " |" for row in rows))
    return "\n\n".join(tables)
