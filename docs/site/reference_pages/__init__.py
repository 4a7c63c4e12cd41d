"""The pages of docs/reference, made from the code that they tell of.

`python docs/site/reference.py` writes them, and with `--check` says which differ from the code.
"""

from __future__ import annotations

from reference_pages import doubts, metrics, plugins, recipe


def pages() -> dict[str, str]:
    """Every page's text by its path in docs/reference."""
    return {
        "recipe.md": recipe.page(),
        **{f"plugins/{kind}.md": text for kind, text in plugins.pages()},
        "metrics.md": metrics.page(),
        "doubts.md": doubts.page(),
    }
