"""The levels of a sparsifier, and of what follows it."""

from __future__ import annotations

from collections.abc import Iterator

from privaudit.api.boundary import broken, guest
from privaudit.api.calls import labels
from privaudit.api.plugin import Model
from privaudit.cohort import Cohort
from privaudit.recipe import Subject


def followed(subject: Subject, cohort: Cohort, model: Model) -> Iterator[tuple[str, Cohort]]:
    """Each level of a subject, and the cohort as it is there.

    Where something follows the sparsifier, these are its levels, from each of the sparsifier's,
    and say both. It works on a fork, so that the sparsifier goes on from its own.

    Args:
        subject: what is under audit.
        cohort: its networks.
        model: that has built them.

    Raises:
        PluginError: a script fails, or its levels cannot be told apart.
    """
    seen: set[str] = set()
    beside = subject.defense, model
    for label in labels(subject.sparsifier, cohort, *beside):
        with guest(subject.sparsifier, "sparsify"):
            cohort.check_copies()
        if subject.then is None:
            yield label, cohort
            continue
        notes = cohort.take_notes()
        branch = cohort.fork()
        branch.sparsifier = subject.then
        for more in labels(subject.then, branch, *beside, hook="follow"):
            with guest(subject.then, "follow"):
                branch.check_copies()
            both = ", ".join(filter(None, [label, more]))
            if both in seen:
                raise broken(subject.then, "follow", f"leads to two levels called {both!r}")
            seen.add(both)
            own = branch.take_notes()
            for name, values in (notes | own).items():
                branch.note(name, values)
            yield both, branch
