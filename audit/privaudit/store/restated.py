"""The recipe of a finished run, said anew where what has changed is no part of what was made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from privaudit.store.files import write_many
from privaudit.store.manifest import NAME, FileSum, read_manifest, sealed
from privaudit.store.record import RESULT, read_record
from privaudit.store.result import RunResult


def restate(result: RunResult, recipe: Mapping[str, Any], recipe_yaml: str) -> RunResult:
    """Write another recipe into a finished run's folder; all that was found stays as it is.

    Args:
        result: of a whole run, in a folder.
        recipe: complete, and of the same identity.
        recipe_yaml: the same, as a person would write it.

    Returns:
        The result with that recipe.

    Raises:
        StoreError: the folder cannot be read or written; nothing, or little, is changed then, and
            the manifest tells.
    """
    assert result.folder is not None
    path, data = read_record(result.folder, verify=False)
    data["recipe"] = dict(recipe)
    contents = {"recipe.yaml": recipe_yaml.encode()}
    result_json = json.dumps(data, indent=1, allow_nan=False).encode() + b"\n"
    if manifest := read_manifest(result.folder):
        sums = {name: FileSum.of(content) for name, content in contents.items()}
        sums[RESULT] = FileSum.of(result_json)
        contents[NAME] = sealed(manifest.about, {**manifest.files, **sums})
    contents[RESULT] = result_json
    write_many([(path.parent / name, content) for name, content in contents.items()])
    return replace(result, recipe=dict(recipe))
