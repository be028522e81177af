"""Accessibility of what a page shows, by axe-core."""

from pathlib import Path

import pytest

__all__ = ["violations"]

AXE = Path(__file__).parents[2] / "workbench/widgets/front/node_modules/axe-core/axe.min.js"
MISSING = "no axe-core here: run `npm ci` in workbench/widgets/front"

RUN = """async selector => {
  const {violations} = await window.axe.run(selector, {resultTypes: ["violations"]});
  return violations.map(({id, impact, help, nodes}) => ({id, impact, help, at: nodes.map(n => n.html)}));
}"""


def violations(page, selector="body", impacts=("serious", "critical")):
    """What is wrong under a selector, a line each: the rule, its weight, what it asks for, and the elements.

    The test is skipped where axe-core is not installed.
    """
    if not AXE.exists():
        pytest.skip(MISSING)
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    return [
        f"{found['id']} ({found['impact']}): {found['help']}: " + " | ".join(found["at"][:5])
        for found in page.evaluate(RUN, selector)
        if found["impact"] in impacts
    ]
