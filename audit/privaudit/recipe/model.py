"""A recipe, validated: one question about one dataset, and everything its answer depends on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Generic, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from privaudit.api.plugin import (
    Attack,
    Dataset,
    Defense,
    Model,
    Plugin,
    Sparsifier,
    acts_while,
    overrides,
)
from privaudit.api.split_options import SplitOptions
from privaudit.recipe.document import dump
from privaudit.recipe.fields import FolderName, Label, Seeds, ShadowCount
from privaudit.recipe.gates import AcceptedDoubt, GateRule
from privaudit.recipe.target import TargetOptions
from privaudit.training import SPEED, Training

P = TypeVar("P", bound=Plugin)

DENSE = "dense"
"""The sparsifier of recipes that name none."""

TARGET = "target"
"""What reports call a target that was trained elsewhere, in recipes that name no sparsifier."""

GATES = ("gates", "accept_doubts")
"""Keys that judge what a run has found."""

_BESIDE = ("plugins", *GATES)
"""Keys that change no number: what a recipe is does not depend on them."""


class Entry(BaseModel, Generic[P]):
    """A plugin in one of a recipe's lists, with what the recipe says beside its options.

    Attributes:
        plugin: the plugin itself, without the rest.
        label, training, then, shadow_sparsifier, shadow_defense: as their descriptions say; None
            and an empty `training` leave it to the recipe.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    plugin: P
    label: Label | None = Field(None, description="what reports call it; its name if not given")
    training: dict[str, Any] = Field(
        default_factory=dict,
        description="of a sparsifier or a defense: options that replace the recipe's",
    )
    then: SerializeAsAny[Sparsifier] | None = Field(
        None,
        description="of a sparsifier: another that goes on from each level, as quantize can",
    )
    shadow_sparsifier: SerializeAsAny[Sparsifier] | Literal["same"] | None = Field(
        None,
        description="of an attack: what it believes made the target sparse; the recipe's if not "
        "given",
    )
    shadow_defense: SerializeAsAny[Defense] | Literal["same"] | None = Field(
        None,
        description="of an attack: what it believes protects the target; the recipe's if not given",
    )

    @property
    def title(self) -> str:
        """The label, or the plugin's name, and that of what follows."""
        follows = f", then {self.then.name}" if self.then else ""
        return self.label or f"{self.plugin.name}{follows}"

    @property
    def tunes(self) -> bool:
        """Whether a sparsifier, or what follows it, fine-tunes."""
        return any(isinstance(one, Sparsifier) and one.tunes for one in (self.plugin, self.then))

    @model_serializer
    def _flat(self) -> dict[str, Any]:
        data = self.plugin.model_dump(mode="json", serialize_as_any=True)
        data |= {} if self.label is None else {"label": self.label}
        data |= {"training": self.training} if self.training else {}
        data |= {"then": self.then.model_dump(mode="json")} if self.then else {}
        for key in ("shadow_sparsifier", "shadow_defense"):
            believed = getattr(self, key)
            if believed is not None:
                data[key] = believed if believed == "same" else believed.model_dump(mode="json")
        return data


@dataclass(frozen=True)
class Subject:
    """One thing under audit.

    Attributes:
        label: the sparsifier's label, and the defense's where it changes anything.
        sparsifier: what makes the network sparse.
        defense: what protects it.
        training: the recipe's training with the changes of both.
        sparsifier_label: the sparsifier's own label.
        defense_label: the defense's own label.
        then: what goes on from each level of the sparsifier; None: nothing.
    """

    label: str
    sparsifier: Sparsifier
    defense: Defense
    training: Training
    sparsifier_label: str
    defense_label: str
    then: Sparsifier | None = None

    @property
    def plugins(self) -> list[Plugin]:
        """Those that make it."""
        return [self.sparsifier, *filter(None, [self.then]), self.defense]


class Recipe(BaseModel):
    """One experiment: every sparsifier with every defense, under every seed and every attack."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: FolderName = Field(
        description="names the run's folder: at most 100 letters, digits, '.', '_' and '-', a "
        "letter or digit first"
    )
    seeds: Seeds = Field((0,), description="a list, or how many: 3 is [0, 1, 2]")
    dataset: SerializeAsAny[Dataset] = Field(
        description="the examples; may be left out with a target and shadows: 0, where nobody "
        "trains: then the target's non_members"
    )
    split: SplitOptions = Field(SplitOptions(), description="who is in whose training data")
    model: SerializeAsAny[Model] = Field(description="the network")
    training: Training = Field(Training(), description="how every network is trained")
    shadows: ShadowCount = Field(1, description="how many shadow networks the attacker trains")
    sparsifiers: tuple[Entry[Sparsifier], ...] = Field(
        min_length=1, description="what makes the network sparse"
    )
    defenses: tuple[Entry[Defense], ...] = Field(min_length=1, description="what protects it")
    attacks: tuple[Entry[Attack], ...] = Field(
        min_length=1, description="what tells members from non-members"
    )
    shadow_sparsifier: SerializeAsAny[Sparsifier] | Literal["same"] = Field(
        "same",
        description="what the attacker believes made the target sparse, when it makes its shadows: "
        "same, none, or any sparsifier",
    )
    shadow_defense: SerializeAsAny[Defense] | Literal["same"] = Field(
        "same",
        description="what the attacker believes protects the target, when it makes its shadows: "
        "same, none, or any defense",
    )
    matched: bool | Literal["undefended"] = Field(
        False,
        description="also audit, for each sparse network, a dense one that is stopped at equal "
        "test accuracy; true: under the same defense; undefended: without any, and for each "
        "defended network, too",
    )
    target: TargetOptions | None = Field(
        None, description="a network trained elsewhere, to be audited instead of one trained here"
    )

    plugins: tuple[str, ...] = Field(
        (),
        description="Python files of plugins without packaging, relative to the recipe's own file, "
        "else to the current folder",
    )
    folders: tuple[str, ...] = Field(
        (),
        exclude=True,  # where files lie makes no other experiment
        description="where relative paths start first, before the recipe's own folder and the "
        "current one; the recipe that a run keeps says so, that it may be run from anywhere",
    )
    gates: tuple[GateRule, ...] = Field(
        (),
        description="limits that its audits must keep, or privaudit run and report exit with 3; "
        "a limit alone is about everything",
    )
    accept_doubts: tuple[AcceptedDoubt, ...] = Field(
        (), description="doubts despite which its gates may be kept"
    )

    @model_serializer(mode="wrap")
    def _without_later_keys(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Where they say nothing, a recipe is written as it was before there were such keys."""
        data: dict[str, Any] = dump(self)
        return {key: data[key] for key in data if key not in _BESIDE or data[key]}

    def subjects(self) -> tuple[Subject, ...]:
        """Every sparsifier with every defense, defenses varying fastest.

        A defense that acts in fine-tuning only goes with sparsifiers that fine-tune.
        """
        return tuple(
            Subject(
                label=" + ".join([self._called(sparsifier), *_shown(defense)]),
                sparsifier=sparsifier.plugin,
                defense=defense.plugin,
                training=combined(self.training, sparsifier.training, defense.training),
                sparsifier_label=sparsifier.title,
                defense_label=defense.title,
                then=sparsifier.then,
            )
            for sparsifier in self.sparsifiers
            for defense in self.defenses
            if sparsifier.tunes or acts_while(defense.plugin) != "tune"
        )

    def _called(self, sparsifier: Entry[Sparsifier]) -> str:
        """What reports call a sparsifier; a target that nothing here has made is no `dense` one.

        A recipe whose gates call it so, as was right before, still finds it by that name.
        """
        named = len(self.sparsifiers) > 1 or sparsifier.title != DENSE or sparsifier.label
        gated = {name.partition("/")[0] for rule in self.gates for name in rule.subjects}
        if self.target is None or named or DENSE in gated:
            return sparsifier.title
        return TARGET

    def attack_entries(self) -> tuple[tuple[str, Attack], ...]:
        """Each attack with its label."""
        return tuple((entry.title, entry.plugin) for entry in self.attacks)

    def to_yaml(self) -> str:
        """The recipe with every option written out; loads back to an equal recipe."""
        data = self.model_dump(mode="json", serialize_as_any=True)
        return dump(data | ({"folders": list(self.folders)} if self.folders else {}))

    def digest(self) -> str:
        """A hash (64 hex digits) of everything but what changes speed, not results."""
        data = without_speed_options(self.model_dump(mode="json", serialize_as_any=True))
        return sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def without_speed_options(dumped: Mapping[str, Any]) -> dict[str, Any]:
    """A dumped recipe without what changes speed or lies elsewhere, not results.

    These are `stack` and `compile`; where the files of `plugins` lie, as what they hold is kept
    beside the recipe, with the source of every plugin; and the gates, which judge what was found.
    """
    data = {key: deepcopy(value) for key, value in dumped.items() if key not in _BESIDE}
    for holder in (data, *data.get("sparsifiers", ()), *data.get("defenses", ())):
        for key in SPEED:
            holder.get("training", {}).pop(key, None)
    return data


def combined(training: Training, *changes: Mapping[str, Any]) -> Training:
    """The training with changes made one after another."""
    options = training.model_dump()
    for change in changes:
        options |= change
    return Training.model_validate(options)


def _shown(entry: Entry[Defense]) -> list[str]:
    """What a subject's label says of a defense: nothing if it does nothing and has no label."""
    shown = acts(entry.plugin) or entry.training or entry.label is not None
    return [entry.title] if shown else []


def acts(defense: Defense) -> bool:
    """Whether a defense does anything at all."""
    methods = [name for name, value in vars(Defense).items() if callable(value) and name[0] != "_"]
    return any(overrides(defense, method) for method in methods)
