"""The views of a page, in their order: a new one is an entry here, and a function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from privaudit.page.blocks import Block, Section
from privaudit.page.comparison import comparison, cost
from privaudit.page.environment import environment
from privaudit.page.equal import equal
from privaudit.page.exposure import classes, records
from privaudit.page.findings import Findings
from privaudit.page.gates import gates
from privaudit.page.plots import plots
from privaudit.page.untested import untested
from privaudit.page.verdict import verdict


@dataclass(frozen=True)
class View:
    """One part of the page.

    Attributes:
        name: to link to it.
        title: its heading.
        blocks: makes what is in it; nothing leaves the view out.
    """

    name: str
    title: str
    blocks: Callable[[Findings], Sequence[Block]]


VIEWS: tuple[View, ...] = (
    View("verdict", "The verdict", verdict),
    View("equal", "Sparsity, accuracy and privacy told apart", equal),
    View("untested", "What was not tested", untested),
    View("plots", "Plots", plots),
    View("comparison", "Every network and attack", comparison),
    View("gates", "Gates, one by one", gates),
    View("classes", "Which classes are exposed", classes),
    View("records", "Single records", records),
    View("cost", "What the networks cost", cost),
    View("environment", "Recipe, versions and plugins", environment),
)


def sections(findings: Findings) -> list[Section]:
    """All views that have something to show."""
    made = [Section(view.name, view.title, tuple(view.blocks(findings))) for view in VIEWS]
    return [section for section in made if section.blocks]
