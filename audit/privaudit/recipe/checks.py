"""What is wrong between the parts of a recipe, each of them right in itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from privaudit.answers import ORIGINAL, VERSIONS
from privaudit.api.calls import refused_by_attack, refused_by_split
from privaudit.api.plugin import Defense, Sparsifier
from privaudit.messages import Place, unknown
from privaudit.recipe.messages import Mistake
from privaudit.recipe.model import Recipe

PAIRS = "pairs"  # sparsifiers with defenses: wrong where an entry of either list is


def cross_check(recipe: Recipe, wrong: set[str]) -> list[Mistake]:
    """Every mistake between the parts of a recipe.

    Args:
        recipe: holds a default wherever the file's value is wrong in itself.
        wrong: those places, and `PAIRS`; no check speaks that such a default could mislead.
    """
    return [
        mistake
        for needs, check in _CHECKS
        if not any(need in wrong or need.partition(".")[0] in wrong for need in needs.split())
        for mistake in check(recipe)
    ]


def _sizes(recipe: Recipe) -> Iterator[Mistake]:
    split = recipe.split
    if split.protocol == "disjoint" and split.targets == "all":
        message = (
            "'all' needs split.protocol halves or coin: only there can every model be the target"
        )
        yield Mistake(("split", "targets"), message)
    share = split.members is not None and split.members < 1
    if split.protocol != "coin" and share:
        message = (
            f"must be a count with split.protocol {split.protocol}: only coin takes a share "
            f"(got {split.members:g})"
        )
        yield Mistake(("split", "members"), message)
        return
    if split.protocol == "coin" and split.non_members and (share or split.members is None):
        message = (
            "is told by the share of members with split.protocol coin: leave it out, or give "
            f"split.members as a count, too (got {split.non_members})"
        )
        yield Mistake(("split", "non_members"), message)
    sizes = {split.members, split.non_members} - {None}
    if split.protocol == "halves" and len(sizes) > 1:
        message = (
            f"must equal split.members, {split.members}, or be left out, "
            f"with split.protocol halves (got {split.non_members})"
        )
        yield Mistake(("split", "non_members"), message)


def _pairs(recipe: Recipe) -> Iterator[Mistake]:
    if recipe.split.protocol == "halves" and recipe.shadows % 2:
        message = f"must be even with split.protocol halves, in pairs (got {recipe.shadows})"
        yield Mistake(("shadows",), message)


def _enough_shadows(recipe: Recipe) -> Iterator[Mistake]:
    for index, entry in enumerate(recipe.attacks):
        needed = entry.plugin.shadows
        if needed > recipe.shadows:
            message = (
                f"{entry.plugin.name!r} needs at least {needed} shadow models: "
                f"set shadows to {needed} or more (got {recipe.shadows})"
            )
            yield Mistake(("attacks", index), message)


def _refused(recipe: Recipe) -> Iterator[Mistake]:
    for index, entry in enumerate(recipe.attacks):
        if refusal := refused_by_attack(entry.plugin, recipe.split, recipe.shadows):
            yield Mistake(("attacks", index), f"{entry.plugin.name!r} {refusal}")


def _refused_by_split(recipe: Recipe) -> Iterator[Mistake]:
    named: list[tuple[Place, object]] = []
    for key in ("sparsifiers", "defenses"):
        named += [((key, index), e.plugin) for index, e in enumerate(getattr(recipe, key))]
    named += [(("sparsifiers", i, "then"), e.then) for i, e in enumerate(recipe.sparsifiers)]
    for key in ("shadow_sparsifier", "shadow_defense"):
        named.append(((key,), getattr(recipe, key)))
        named += [(("attacks", i, key), getattr(e, key)) for i, e in enumerate(recipe.attacks)]
    for path, plugin in named:
        if not isinstance(plugin, Sparsifier | Defense):
            continue
        if refusal := refused_by_split(plugin, recipe.split):
            yield Mistake(path, f"{plugin.name!r} {refusal}")


def _tuning(recipe: Recipe) -> Iterator[Mistake]:
    subjects = recipe.subjects()
    for index, defense in enumerate(recipe.defenses):
        if not any(subject.defense_label == defense.title for subject in subjects):
            what = "its `during`" if defense.plugin.acts_during else "it"
            message = (
                f"{defense.plugin.name!r} acts in fine-tuning only, and no sparsifier of this "
                f"recipe fine-tunes: leave {what} out, or add one that does"
            )
            yield Mistake(("defenses", index), message)
    for index, sparsifier in enumerate(recipe.sparsifiers):
        if not any(subject.sparsifier_label == sparsifier.title for subject in subjects):
            message = (
                f"{sparsifier.plugin.name!r} never fine-tunes, and every defense of this recipe "
                "acts in fine-tuning only: add the defense none, or leave it out"
            )
            yield Mistake(("sparsifiers", index), message)


def _labels(recipe: Recipe) -> Iterator[Mistake]:
    for key in ("sparsifiers", "defenses", "attacks"):
        taken: dict[str, int] = {}
        for index, entry in enumerate(getattr(recipe, key)):
            first = taken.setdefault(entry.title, index)
            if first != index:
                message = f"is called {entry.title!r} like {key}[{first}]: give one a label"
                yield Mistake((key, index), message)


def _subjects(recipe: Recipe) -> Iterator[Mistake]:
    taken: dict[str, str] = {}
    titles = [entry.title for entry in recipe.defenses]
    for subject in recipe.subjects():
        if taken.setdefault(subject.label, subject.defense_label) != subject.defense_label:
            message = f"makes a second subject called {subject.label!r}: give it a label"
            yield Mistake(("defenses", titles.index(subject.defense_label)), message)
            return


def _target(recipe: Recipe) -> Iterator[Mistake]:
    if recipe.target is None:
        return
    if recipe.split.targets != 1:
        message = "must be 1 with a given target: it is the only one (got 'all')"
        yield Mistake(("split", "targets"), message)
    if recipe.split.canaries is not None:
        message = "cannot be used with a given target: its training is over (got canaries)"
        yield Mistake(("split", "canaries"), message)
    if recipe.matched:
        message = "cannot be used with a given target: no dense network is trained to match it"
        yield Mistake(("matched",), message)
    for index, entry in enumerate(recipe.attacks):
        if recipe.target.opaque and "gradient_norm" in entry.plugin.signals:
            message = (
                f"{entry.plugin.name!r} needs gradients, which target.checkpoint, a program, does "
                "not give: leave it out, or give the weights alone"
            )
            yield Mistake(("attacks", index), message)
        if recipe.target.dense is None and entry.plugin.signals & {ORIGINAL, VERSIONS}:
            message = (
                f"{entry.plugin.name!r} needs the dense original of the target: name its file in "
                "target.dense, or leave the attack out"
            )
            yield Mistake(("attacks", index), message)


def _milestones(recipe: Recipe) -> Iterator[Mistake]:
    places: list[tuple[Place, object]] = [(("training",), recipe.training.milestones)]
    for key in ("sparsifiers", "defenses"):
        for index, entry in enumerate(getattr(recipe, key)):
            places.append(((key, index, "training"), entry.training.get("milestones", ())))
    for path, milestones in places:
        epochs = list(milestones)  # type: ignore[call-overload]
        if epochs != sorted(set(epochs)) or any(epoch < 0 for epoch in epochs):
            message = f"must be epochs from 0 on, each later than the last (got {epochs})"
            yield Mistake((*path, "milestones"), message)


def _gated_subjects(recipe: Recipe) -> Iterator[Mistake]:
    subjects = [subject.label for subject in recipe.subjects()]
    for index, rule in enumerate(recipe.gates):
        for number, name in enumerate(rule.subjects):
            levels = (name.startswith(f"{subject}/") for subject in subjects)
            if name not in subjects and not any(levels):
                path = ("gates", index, "subjects", number)
                yield Mistake(path, unknown("subject", name, subjects))


def _gated_attacks(recipe: Recipe) -> Iterator[Mistake]:
    attacks = [entry.title for entry in recipe.attacks]
    for index, rule in enumerate(recipe.gates):
        for number, name in enumerate(rule.attacks):
            if name not in attacks:
                path = ("gates", index, "attacks", number)
                yield Mistake(path, unknown("attack", name, attacks))


def _gated_means(recipe: Recipe) -> Iterator[Mistake]:
    for index, rule in enumerate(recipe.gates):
        if rule.limit.mean and len(recipe.seeds) == 1 and recipe.split.targets == 1:
            message = (
                f"{rule.gate!r} is about the mean of several networks, and of each subject there "
                "is one: leave out mean(), give more seeds, or set split.targets to all"
            )
            yield Mistake(("gates", index), message)


_CHECKS: list[tuple[str, Callable[[Recipe], Iterator[Mistake]]]] = [
    ("split.protocol", _sizes),
    ("shadows", _pairs),
    ("shadows", _enough_shadows),
    ("shadows", _refused),
    ("split", _refused_by_split),
    (PAIRS, _tuning),
    ("sparsifiers", _labels),
    (PAIRS, _subjects),
    ("training.milestones", _milestones),
    ("target", _target),
    (PAIRS, _gated_subjects),
    ("attacks", _gated_attacks),
    ("seeds split.targets", _gated_means),
]
