"""Recipes of every kind of nonsense: told in lines, or read back as they were."""

from __future__ import annotations

import time
from collections.abc import Iterator
from copy import deepcopy
from functools import lru_cache, partial
from pathlib import Path
from random import Random
from typing import Any

import yaml
from tests.campaign._case import Case

from privaudit.api.host import Plugins, load_plugins
from privaudit.errors import PluginError, RecipeError
from privaudit.readers.shipped import shipped_recipes
from privaudit.recipe import load_recipe

QUESTION = "Is every recipe, however mangled, read back as it was or refused in plain lines?"

_BLOCKS, _SIZE = 100, 100
_SECONDS = 10.0

_NASTY: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**400, 0.0, -0.0, 1e308, 5e-324,
    float("inf"), float("-inf"), float("nan"), "", " ", "none", "same", "all", "imp", "loss",
    "mlp", "digits", "cosinus", "step", "cosine", "\x00", "\x1b[31m", "a\nb", "\u202e", "\ufeff",
    "é" * 90, "x" * 5000, "../../etc", "/dev/zero", "~nobody/x", [], {}, [[]], [{}], {"": None},
    {"name": "imp"}, {"name": "loss", "label": "x"}, {"name": []}, [1, 2, 3], [None], ["loss"],
    [10**9], {"count": 4}, {"count": -1}, {"milestones": [5, 3]}, {"milestones": [3]},
    {"schedule": "cosinus", "milestones": [3]}, {"lr": float("inf")}, [float("nan")], "1e400",
    list(range(1000)), dict.fromkeys(map(str, range(1000))),
)  # fmt: skip
_TEXTS = (
    b"\x00", b"\xff", b"\xef\xbb\xbf", b"\t", b"&a ", b"*a", b"<<: *a\n",
    b"!!python/name:os.system ",
    b'"\\U00110000"', b'"\\uD800"', b"? ", b"|\n", b">-\n", b"---\n", b"...\n", b"%YAML 9.9\n",
    b"[" * 60, b"{" * 60, b"0x", b"0o9", b"-.inf", b".nan", b"9" * 5000, b"'", b'"', b": ", b"# ",
)  # fmt: skip
_SETS = (
    "training.lr", "training.lr=", "training.lr=[", "=", "a=1", "training=1",
    "training.epochs=.nan",
    "attacks[0].label=x", "attacks[9].label=x", "attacks.0=", "model.hidden=[1000000000]",
    "seeds=1e9", "seeds=[0,0]", "training.batch_size=9223372036854775808", "name=../x", "dataset=",
    'name="\\U00110000"', "model=[[[[[]]]]]", "split.members=.inf", "shadows=-1",
    "plugins=[gone.py]",
    "training.lr=&a [*a]", "target.checkpoint=/dev/zero", "sparsifiers.0.training.lr=.inf",
    "dataset.path=\x00", "plugins=['\x00.py']", "x" * 3000 + "=1", "a" + ".a" * 300 + "=1",
    "training.lr=" + "[" * 400,
)  # fmt: skip


@lru_cache(maxsize=1)
def _material() -> tuple[Plugins, list[dict[str, Any]]]:
    files = shipped_recipes().values()
    return load_plugins(), [yaml.safe_load(file.read_text()) for file in files]


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every place of a document, as what holds it and its key."""
    found: list[tuple[Any, Any]] = []
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    for key in keys:
        found.append((value, key))
        if isinstance(value[key], dict | list):
            found += _places(value[key])
    return found


def _mutated(random: Random, data: dict[str, Any]) -> dict[str, Any]:
    data = deepcopy(data)
    for _ in range(random.randint(1, 4)):
        places = _places(data)
        if not places:
            break
        holder, key = random.choice(places)
        change = random.randrange(6)
        if change == 0:
            del holder[key]
        elif change == 1 and isinstance(holder, dict):
            holder[f"{key}{random.choice('sx_ ')}"] = holder.pop(key)
        elif change == 2 and isinstance(holder, list):
            holder += deepcopy(holder[key : key + 1]) * random.choice((1, 2, 50))
        elif change == 3:
            other, where = random.choice(places)
            if other is not holder:
                holder[key] = deepcopy(other.get(where) if isinstance(other, dict) else other)
        else:
            holder[key] = deepcopy(random.choice(_NASTY))
    return data


def _text(random: Random, data: dict[str, Any]) -> bytes:
    """A recipe's file; one in three has its bytes changed, too."""
    text = bytearray(yaml.safe_dump(_mutated(random, data), sort_keys=False).encode())
    if random.randrange(3) == 0:
        for _ in range(random.randint(1, 5)):
            at = random.randrange(len(text) + 1)
            change = random.randrange(4)
            if change == 0:
                text[at:at] = random.choice(_TEXTS)
            elif change == 1:
                del text[at : at + random.randint(1, 40)]
            elif change == 2:
                text[at : at + 1] = bytes([random.randrange(256)])
            else:
                text[at:at] = text[: random.randint(1, 200)]
    return bytes(text)


def wrong(content: bytes, changes: list[str], path: Path) -> str:
    """What is wrong with how one recipe is taken; "" where nothing is."""
    path.write_bytes(content)
    started = time.process_time()
    try:
        recipe = load_recipe(path, changes, plugins=_material()[0])
    except (RecipeError, PluginError) as error:
        lines = getattr(error, "problems", None) or (str(error),)
        if not all(line and line.isprintable() for line in lines):
            return f"a message of more than a line: {lines!r}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    else:
        written = recipe.to_yaml()
        path.write_text(written)
        if load_recipe(path, plugins=_material()[0]).to_yaml() != written:
            return "what is written is not what is read back"
    seconds = time.process_time() - started
    return f"takes {seconds:.1f} s" if seconds > _SECONDS else ""


def _block(seed: int, folder: Path) -> str:
    random = Random(seed)
    recipes = _material()[1]
    for number in range(_SIZE):
        content = _text(random, random.choice(recipes))
        changes = random.sample(_SETS, random.choice((0, 0, 0, 1, 2)))
        if said := wrong(content, changes, folder / "recipe.yaml"):
            return f"recipe {number} of seed {seed}, --set {changes}: {said[:300]}"
    return ""


def cases(seed: int) -> Iterator[Case]:
    """10,000 recipes, 100 a case."""
    for block in range(_BLOCKS):
        number = seed * _BLOCKS + block
        yield Case(f"recipes {block:02}", partial(_block, number), _SIZE)
