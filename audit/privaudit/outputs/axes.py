"""Where the examples lie in arrays of every name."""

from __future__ import annotations

ANSWERS = {
    "logits": 2,
    "original_logits": 2,
    "shadow_logits": 3,
    "shadow_original_logits": 3,
    "noisy": 3,
    "shadow_noisy": 4,
}
"""Arrays of answers, and how many axes they have at least if one is that of the classes."""

_ROWS = 2  # axes of labels that are one-hot


def example_axis(name: str, ndim: int) -> int:
    """The axis of the examples, counted from the end, but for the first.

    >>> example_axis("shadow_logits", 3), example_axis("shadow_logits", 2), example_axis("x", 4)
    (-2, -1, 0)

    Args:
        name: of the argument of `audit_outputs`.
        ndim: of the array; answers with an axis less than usual have one number for each example.
    """
    if name in ("x", "ids") or (name == "labels" and ndim == _ROWS):
        return 0
    return -2 if name in ANSWERS and ndim >= ANSWERS[name] else -1
