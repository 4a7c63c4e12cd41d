"""How the inputs of a target that was trained elsewhere were normalised."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from privaudit.errors import DataError
from privaudit.readers.door import expanded
from privaudit.readers.tensors import Unreadable, tensor_file
from privaudit.recipe.target import MeanStd, TargetOptions
from privaudit.store.inputs import Inputs
from privaudit.values import Examples

IMAGENET = MeanStd(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
UNIT = MeanStd(mean=(0.0,), std=(1.0,))
CHOICES = (
    "unit (x / 255, ToTensor alone), imagenet, {mean: [...], std: [...]} as Normalize after "
    "ToTensor has them, none (0 to 255), or dataset (as the recipe's dataset is)"
)


def as_the_target_takes_them(options: TargetOptions, examples: Examples) -> Examples:
    """The examples with the mean and deviation of the target's own training.

    What the recipe says counts; without it, what the file says, as those that privaudit writes
    do; without both, features and series are normalised as the recipe's `dataset` is, and images
    are refused: a network fed otherwise than it was trained forgets its members.

    Args:
        options: the recipe's `target`.
        examples: normalised as the recipe's `dataset` says.

    Raises:
        DataError: nothing says how images were normalised, or what is said does not fit them.
    """
    stored = stored_normalisation(options, examples)
    if options.normalise is None:
        if stored is not None:
            return stored
        if is_images(examples):
            raise DataError(
                "target.normalise: is needed for images, because the file does not say how its "
                f"inputs were normalised: {CHOICES}"
            )
        return examples
    said = normalised(options.normalise, examples)
    if stored is not None and not _alike(said, stored):
        raise DataError(
            f"target.normalise: {options.checkpoint} says that its inputs were normalised by mean "
            f"{_shown(stored.mean)} and std {_shown(stored.std)}, in units of x, and the recipe "
            f"says mean {_shown(said.mean)} and std {_shown(said.std)}: leave normalise out"
        )
    return said


def is_images(examples: Examples) -> bool:
    """Whether examples are images (N, channels, height, width)."""
    return len(examples.shape) == 3 and not examples.tokens


def normalised(how: str | MeanStd, examples: Examples) -> Examples:
    """The examples with the mean and deviation that `how` stands for.

    Raises:
        DataError: it does not fit them.
    """
    if how == "dataset":
        return examples
    if examples.tokens:
        raise DataError("target.normalise: tokens are never normalised: leave it out")
    if how == "none":
        return replace(examples, mean=torch.tensor(0.0), std=torch.tensor(1.0))
    if isinstance(how, str):
        _check_named(how, examples)
        how = {"unit": UNIT, "imagenet": IMAGENET}[how]
    scale = 255.0 if is_images(examples) and examples.x.dtype == torch.uint8 else 1.0
    mean, std = (_broadcast(name, getattr(how, name), examples) for name in ("mean", "std"))
    return replace(examples, mean=scale * mean, std=scale * std)


def stored_normalisation(options: TargetOptions, examples: Examples) -> Examples | None:
    """The examples as the metadata of a .safetensors file say; None where it says nothing."""
    path = expanded(options.checkpoint)
    try:
        with tensor_file(path) as file:
            inputs = Inputs.read(file.metadata())
    except Unreadable:
        return None  # as is said where it is read for its weights
    if inputs is None or inputs.dtype != examples.x.dtype or inputs.shape != examples.shape:
        return None
    return replace(examples, mean=inputs.mean, std=inputs.std)


def described(examples: Examples) -> str:
    """How examples are normalised, in the units in which a recipe says it."""
    scale = 255.0 if is_images(examples) and examples.x.dtype == torch.uint8 else 1.0
    return f"mean {_shown(examples.mean / scale)} and std {_shown(examples.std / scale)}"


def _check_named(how: str, examples: Examples) -> None:
    if not is_images(examples):
        raise DataError(
            f"target.normalise: {how!r} is for images, and these examples are of shape "
            f"{examples.shape}: give mean and std, none, or dataset"
        )
    channels = examples.shape[0]
    if how == "imagenet" and channels != 3:
        raise DataError(
            f"target.normalise: 'imagenet' is for 3 channels, and these images have {channels}: "
            "give mean and std"
        )
    x = examples.x
    if x.is_floating_point() and not bool(((x >= 0) & (x <= 1)).all()):
        raise DataError(
            f"target.normalise: {how!r} is for uint8 images, or numbers from 0 to 1, and these run "
            f"from {float(x.min()):.3g} to {float(x.max()):.3g}: give mean and std in their units"
        )


def _broadcast(name: str, values: tuple[float, ...], examples: Examples) -> Tensor:
    """One number for each channel or feature, so that it broadcasts to one example."""
    images = is_images(examples)
    wanted = examples.shape[0] if images else examples.shape[-1]
    if len(values) not in (1, wanted):
        raise DataError(
            f"target.normalise.{name}: must have {wanted} numbers, one for each "
            f"{'channel' if images else 'feature'}, or 1 for all (got {len(values)})"
        )
    tensor = torch.tensor(values)
    if len(values) == 1:
        return tensor[0]
    return tensor.view(-1, 1, 1) if images else tensor


def _alike(one: Examples, other: Examples) -> bool:
    pairs = ((one.mean, other.mean), (one.std, other.std))
    return all(bool(((a - b).abs() <= 1e-3 * (one.std + other.std)).all()) for a, b in pairs)


def _shown(values: Tensor) -> str:
    numbers = ", ".join(f"{value:.4g}" for value in values.flatten()[:4].tolist())
    return f"[{numbers}{', ...' if values.numel() > 4 else ''}]"
