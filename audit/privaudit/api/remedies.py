"""What usually lies behind an error of a plugin, and how its author mends it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass

_STEP = frozenset({"defense", "sparsifier"})  # kinds whose hooks are called for many models at once
_MODEL = frozenset({"model"})


@dataclass(frozen=True)
class Remedy:
    """What to do about one kind of error.

    Attributes:
        name: of the row.
        error: regular expression, searched in "Type: message". Loose, for torch's words change
            from version to version.
        words: what to do; or a function of the error, which says nothing where it does not know.
        kinds: of plugin, where it applies; all, if there are none.
        line: regular expression, searched in the author's line: torch has one message for much.
    """

    name: str
    error: str
    words: str | Callable[[BaseException | None], str]
    kinds: frozenset[str] = frozenset()
    line: str = ""


def nearest_name(error: BaseException | None) -> str:
    """The attribute of one of privaudit's values that a misspelt one was meant to be."""
    holder = getattr(error, "obj", None)
    if not (isinstance(error, AttributeError) and type(holder).__module__.startswith("privaudit")):
        return ""
    names = [name for name in dir(holder) if not name.startswith("_")]
    near = difflib.get_close_matches(str(error.name), names, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"There are {', '.join(names)}."


_VALUES = r"data-dependent control flow|calling \.item\(\)|_local_scalar_dense"
_ITEM = (
    "The hook runs for many models at once, so there is no single number to take out: leave out "
    ".item(), float() and int() and go on with the tensor; choose with torch.where, not with if."
)

_NETWORK_ITEM = (
    "The network is called for many models at once, so there is no single number to take out: "
    "leave out .item(), float() and int() and go on with the tensor."
)

REMEDIES: tuple[Remedy, ...] = (
    Remedy(
        "one_hot",
        _VALUES,
        "F.one_hot looks at the labels' values, which differ from model to model: compare with "
        "every class, `(y[:, None] == torch.arange(C, device=y.device)).float()`.",
        line=r"one_hot",
    ),
    Remedy(
        "number of a network",
        _VALUES,
        _NETWORK_ITEM,
        kinds=_MODEL,
        line=r"\.item\(|\bfloat\(|\bint\(",
    ),
    Remedy("number", _VALUES, _ITEM, line=r"\.item\(|\bfloat\(|\bint\("),
    Remedy(
        "branch of a network",
        r"data-dependent control flow",
        "The network is called for many models at once, so it cannot branch on a tensor's value: "
        "compute both and choose with torch.where, such as `torch.where(x > 0, one, other)`.",
        kinds=_MODEL,
    ),
    Remedy(
        "branch",
        r"data-dependent control flow",
        "The code runs for many models at once, so it cannot branch on a tensor's value, which "
        "differs from model to model: compute both and choose with torch.where, such as "
        "`torch.where(step.epoch > 3, late, early)`.",
    ),
    Remedy("item of a network", _VALUES, _NETWORK_ITEM, kinds=_MODEL),
    Remedy("item", _VALUES, _ITEM),
    Remedy(
        "mask",
        r"dynamic shape|masked_select|differently shaped",
        "The code runs for many models at once, whose masks choose differently many: weigh "
        "instead of choosing, `(l * mask).sum() / mask.sum()` instead of `l[mask].mean()`.",
    ),
    Remedy(
        "random",
        r"random operation",
        "Randomness must be each model's own: draw it with privaudit.keys from the step's key, "
        "such as `privaudit.keys.normal(step.key, *step.logits.shape)`.",
        kinds=_STEP,
    ),
    Remedy(
        "dropout",
        r"random operation",
        "Randomness must be each model's own: the engine draws for the module nn.Dropout, but "
        "F.dropout, torch.randn and dropout inside attention draw from a generator that all share.",
        kinds=_MODEL,
    ),
    Remedy(
        "no form for many",
        r"[Bb]atching rule not implemented|could not generate a fallback",
        "torch has no form of this operation for many models at once, as of nn.LSTM and nn.GRU: "
        "where speed matters, write it with other operations.",
    ),
    Remedy(
        "numpy",
        r"doesn't have storage|numpy\(\) is not supported|Can't call numpy\(\)|tensor to numpy",
        "The code runs for many models at once and is differentiated, which NumPy and .tolist() "
        "know nothing of: do the same with torch's functions.",
        kinds=_STEP | _MODEL,
    ),
    Remedy(
        "in place",
        r"in-place operation|inplace operation|more than one element of the written-to"
        r"|is not possible because there exists a Tensor|match the broadcast shape",
        "What a hook is given is not its own to change: make a new tensor, `x = x + 1` instead of "
        "`x += 1`, or work on `x.clone()`.",
    ),
    Remedy(
        "view",
        r"view size is not compatible",
        "Images may lie with their channels last: use .reshape(...) or .flatten(1) instead of "
        ".view(...).",
    ),
    Remedy(
        "batch of one",
        r"more than 1 value per channel",
        "BatchNorm had a batch of one row, which has no spread: raise training.batch_size to 2 or "
        "more.",
    ),
    Remedy(
        "device",
        r"on the same device|expected device|(?:cpu|cuda).* device type",
        "A tensor made in a hook lies on the host unless told otherwise: make it where the others "
        "are, such as `torch.arange(C, device=y.device)`.",
    ),
    Remedy(
        "reference",
        r"NoneType",
        "There are reference examples only where the class asks for them: write "
        "`reference: ClassVar[bool] = True`.",
        kinds=frozenset({"defense"}),
        line=r"\.reference_",
    ),
    Remedy(
        "noisy",
        r"NoneType",
        "There are noisy copies only where the class asks for them: write "
        "`noise: ClassVar[int] = 2`, or as many as it takes; with `noise_optional` it has to do "
        "without.",
        kinds=frozenset({"attack"}),
        line=r"\.noisy\b",
    ),
    Remedy(
        "gradient norm",
        r"NoneType",
        "There are gradients' norms only where the class asks for them: write "
        '`signals: ClassVar[frozenset[str]] = frozenset({"gradient_norm"})`.',
        kinds=frozenset({"attack"}),
        line=r"\.gradient_norm\b",
    ),
    Remedy(
        "original",
        r"NoneType",
        "There are answers of the dense original only where the class asks for them: write "
        '`signals: ClassVar[frozenset[str]] = frozenset({"original"})`.',
        kinds=frozenset({"attack"}),
        line=r"\.original\b",
    ),
    Remedy(
        "yield",
        r"gives None, not an iterator",
        'The script must say when the weights are to be audited: write `yield "label"`.',
        kinds=frozenset({"sparsifier"}),
    ),
    Remedy(
        "list of labels",
        r"not an iterator",
        "The script is a generator: write `yield label` at the moment when the weights are to be "
        "audited, instead of returning labels.",
        kinds=frozenset({"sparsifier"}),
    ),
    Remedy(
        "bare tensor",
        r"gives (?:a )?Tensor, not privaudit\.AttackScores",
        "Return `privaudit.AttackScores(scores)`.",
        kinds=frozenset({"attack"}),
    ),
    Remedy(
        "queries",
        r"gives shape \(\d+, \d+",
        "Outputs have an axis of queries Q before that of the examples N; query 0 is the example "
        "itself: `signals.target.logits[0]`.",
        kinds=frozenset({"attack"}),
    ),
    Remedy(
        "frozen training",
        r"error for Training.*(?:frozen_instance|Instance is frozen)",
        'Options of a training are frozen: give new ones, `training.model_copy(update={"epochs": '
        "5})`.",
    ),
    Remedy(
        "frozen",
        r"frozen_instance|Instance is frozen",
        "A plugin is its options, which never change, and the same for all models: keep what a "
        "hook works out in a variable of its own, or work it out again.",
    ),
    Remedy("misspelt", r"AttributeError", nearest_name),
    Remedy("unwritten", r"NotImplementedError", "Write this method in your class."),
    Remedy(
        "stacked",
        r"weight .* has shape .* got",
        "A cohort's tensors are stacked on a first axis of M models: keep it, without `[0]`.",
        kinds=_STEP,
    ),
)


def remedy_for(kind: str, line: str, happened: str, error: BaseException | None = None) -> str:
    """What to do about an error; empty where the cause is not known.

    Args:
        kind: of the plugin.
        line: the author's code that failed.
        happened: the error as "Type: message".
        error: the error itself.
    """
    for row in REMEDIES:
        applies = (not row.kinds or kind in row.kinds) and re.search(row.line, line)
        if applies and re.search(row.error, happened, re.DOTALL):
            words = row.words if isinstance(row.words, str) else row.words(error)
            if words:
                return words
    return ""
