"""The pages of docs/reference, made from the code that they tell of.

`python -m docs.site.reference` writes them, and with `--check` says which differ from the code.
"""

from __future__ import annotations

from docs.site.reference import doubts, metrics, plugins, recipe


def pages() -> dict[str, str]:
    """Every page's text by its path in docs/reference."""
    return {
        "recipe.md": recipe.page(),
        **{f"plugins/{kind}.md": text for kind, text in plugins.pages()},
        "metrics.md": metrics.page(),
        "doubts.md": doubts.page(),
    }
