"""What the image models ask of an example's shape."""

from __future__ import annotations

from privaudit import RecipeError


def image_shape(model: str, shape: tuple[int, ...], smallest: int = 1) -> tuple[int, int, int]:
    """The shape as (channels, height, width).

    Args:
        model: the model's name, for the message.
        shape: of one example.
        smallest: pixels that height and width need at least.

    Raises:
        RecipeError: the examples are not images, or too small.
    """
    if len(shape) != 3:
        raise RecipeError(
            f"model {model} needs images of shape (channels, height, width), but this dataset's "
            f"examples have shape {shape}: use mlp, which takes any shape"
        )
    channels, height, width = shape
    if min(height, width) < smallest:
        raise RecipeError(
            f"model {model} needs images of at least {smallest}×{smallest} pixels, but this "
            f"dataset's have {height}×{width}: use mlp, or larger images"
        )
    return channels, height, width
