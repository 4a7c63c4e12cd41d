"""Every built-in plugin on another device, against the same on the CPU: one line of JSON for each.

    python -m on_device [PART OF A NAME ...]

The device is the pretend accelerator, or what PRIVAUDIT_TEST_DEVICE names, such as cuda. It is a
program of its own, because one that has differentiated on the pretend device cannot end as others.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from privaudit import Defense, Examples, Model, Role, Sparsifier, load_recipe
from privaudit.api.host import load_plugins
from privaudit.api.plugin import overrides
from privaudit.cohort import Cohort
from privaudit.cohort.answers import answers
from privaudit.experiment import running
from privaudit.testing import pretend
from privaudit.train.ways import choose
from privaudit.training import Training
from privaudit.values import Augmentation
from privaudit_plugins.models.cnn import CNN
from privaudit_plugins.sparsifiers.dense import Dense

KIND = os.environ.get("PRIVAUDIT_TEST_DEVICE", pretend.NAME)
N = 60
_SHORT: dict[str, dict[str, Any]] = {
    "imp": {"rounds": 1}, "mia_pruning": {"project_from": 0}, "cwrf": {"epochs": 1},
    "memguard": {"epochs": 2, "iterations": 2}, "synflow": {"iterations": 3},
    "monarch": {"layers": ["conv2"]}, "static_mask": {"weights": {"output.weight": [[1, 0, 2]]}},
    "admm": {"every": 1}, "admm_nn": {"every": 1},
    "block_circulant": {"block": 2, "layers": ["conv2"]}, "butterfly": {"layers": ["conv2"]},
}  # fmt: skip
_LEARNED = ("shadow_mlp", "shokri", "compleak", "samia", "nn", "nn_cls", "nn_top3")


def images() -> Examples:
    """60 made-up colour images that may be mirrored and shifted."""
    draw = torch.Generator().manual_seed(0)
    return Examples(
        x=torch.randint(0, 256, (N, 3, 8, 8), generator=draw, dtype=torch.uint8),
        y=torch.arange(N) % 4,
        classes=tuple("0123"),
        mean=torch.tensor([120.0, 120, 120])[:, None, None],
        std=torch.tensor([60.0, 61, 62])[:, None, None],
        augmentation=Augmentation(flip=True, crop=1),
    )


def roles() -> Tensor:
    """Of two models, which draw different numbers of members."""
    role = torch.zeros((2, N), dtype=torch.uint8)
    draw = torch.Generator().manual_seed(1)
    whats = (Role.MEMBER, Role.NON_MEMBER, Role.VALIDATION, Role.REFERENCE)
    for m, (members, others) in enumerate(((20, 17), (16, 20))):
        order = torch.randperm(N, generator=draw)
        sizes = [members, others, 8, N - members - others - 8]
        for what, part in zip(whats, torch.split(order, sizes), strict=True):
            role[m, part] = what
    return role


def outputs(
    device: torch.device, sparsifier: Sparsifier, defense: Defense, model: Model
) -> list[Tensor]:
    """What two models answer at every level, plainly and to noise."""
    training = Training(epochs=2, batch_size=8, lr=0.05, precision="fp64", stack=2)
    cohort = Cohort(
        images(), roles(), torch.tensor([5, 6]), model=model, sparsifier=sparsifier,
        defense=defense, training=training, device=device,
    )  # fmt: skip
    found = []
    for _ in sparsifier.sparsify(cohort):
        shown = cohort
        if overrides(defense, "finish"):
            shown = cohort.fork()
            defense.finish(shown)
        norms = not any("Batch" in type(m).__name__ for m in shown.network.module.modules())
        one = answers(shown, roles() != Role.VALIDATION, queries=2, gradient_norm=norms)
        found += [one.logits] + ([one.gradient_norm] if one.gradient_norm is not None else [])
    return found


def apart(one: list[Tensor], other: list[Tensor]) -> float:
    """The largest difference."""
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


def plugin_pairs() -> Iterator[tuple[str, tuple[Sparsifier, Defense, Model]]]:
    """Every built-in sparsifier without a defense, and every defense of a dense network."""
    host = load_plugins()

    def made(kind: str, name: str) -> Any:
        cls: Any = host.find(kind, name)
        return cls(**_SHORT.get(name, {}))

    for kind in ("sparsifier", "defense"):
        for name in sorted(host.names(kind)):
            plugin, sparse = made(kind, name), kind == "sparsifier"
            pair = (plugin, made("defense", "none")) if sparse else (Dense(), plugin)
            norm: Any = "group" if pair[1].per_example else "batch"
            yield f"{kind} {name}", (*pair, CNN(width=4, norm=norm))


def cases(there: torch.device) -> Iterator[tuple[str, Callable[[], float]]]:
    """Each of a name, and what gives the largest difference between the devices."""

    def both(function: Callable[..., list[Tensor]], *given: Any) -> Callable[[], float]:
        return lambda: apart(function(torch.device("cpu"), *given), function(there, *given))

    for name, pair in plugin_pairs():
        yield name, both(outputs, *pair)
    for way in choose.WAYS:
        yield f"way {way}", both(_by_way, way)
    yield "a whole recipe", lambda: _recipe(there)


def _by_way(device: torch.device, way: str) -> list[Tensor]:
    suits = dict(choose._SUITS)
    for name in suits:
        choose._SUITS[name] = lambda *_, mine=name == way: mine
    try:
        return outputs(device, Dense(), Defense(name="n"), CNN(width=4, norm="batch"))
    finally:
        choose._SUITS.update(suits)


def _recipe(there: torch.device) -> float:
    """The largest difference between two runs' AUCs."""
    attacks = sorted(load_plugins().names("attack"))
    quick = [{"name": name} | ({"epochs": 1} if name in _LEARNED else {}) for name in attacks]
    recipe = {
        "name": "r", "seeds": 1, "dataset": {"name": "digits", "crop": 1}, "shadows": 2,
        "model": {"name": "cnn", "width": 2, "norm": "batch"},
        "split": {"members": 80, "validation": 20, "non_members": 80, "reference": 20},
        "training": {"epochs": 2, "batch_size": 32, "lr": 0.05, "precision": "fp64"},
        "sparsifiers": [{"name": "l1_unstructured", "epochs": 1}], "defenses": ["none"],
        "attacks": quick,
    }  # fmt: skip
    here: Any = running
    chosen, results = here.choose_device, []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r.yaml"
        path.write_text(yaml.safe_dump(recipe))
        for device in (torch.device("cpu"), there):
            here.choose_device = lambda name, d=device: d
            home = Path(folder) / device.type
            results.append(running.run(load_recipe(path), home / "out", cache=home / "cache"))
    here.choose_device = chosen
    # Dropout of learned attacks is hashed on a device, and drawn on the CPU as torch draws it.
    pairs = [
        (a, b)
        for a, b in zip(results[0].audits, results[1].audits, strict=True)
        if not a.attack.startswith(("nn", "samia", "compleak"))
    ]
    assert len(pairs) > len(attacks) / 2
    return max(abs(float(a.metrics["auc"]["value"] - b.metrics["auc"]["value"])) for a, b in pairs)


def main() -> None:
    """A line for each case: what went wrong, or how far apart the devices are."""
    there = pretend.device() if KIND == pretend.NAME else torch.device(KIND)
    torch.set_num_threads(1)
    for name, case in cases(there):
        if sys.argv[1:] and not any(part in name for part in sys.argv[1:]):
            continue
        line: dict[str, object] = {"case": name}
        try:
            with pretend.watching() if KIND == pretend.NAME else nullcontext():
                line["apart"] = case()
        except Exception as error:
            line["error"] = f"{type(error).__name__}: {error}"[:500]
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
