"""The source code behind a plugin class, as one digest."""

from __future__ import annotations

import ast
import sys
from functools import lru_cache
from hashlib import sha256
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

SOURCE = "__privaudit_source__"
"""Where the module of a single file keeps what it was made of, which its file may not."""


def source_digest(cls: type) -> str:
    """SHA-256 (hex) of a class's source file and of what it imports from its own package.

    A method often leans on a helper or a base class in a file beside it, so the files of the same
    top-level package that are imported, directly or through one another, count too. They are
    found by reading the imports, so the digest does not depend on what happens to be loaded.
    A class whose module has no readable source has the digest of its qualified name.
    """
    source = getattr(sys.modules.get(cls.__module__), SOURCE, None)
    if source is not None:  # the file may have changed since it was loaded
        return sha256(source).hexdigest()
    return module_digest(cls.__module__, cls.__qualname__)


def module_digest(module: str, name: str) -> str:
    """The `source_digest` of a class, which need not have been imported.

    Args:
        module: that defines it.
        name: its qualified name.
    """
    modules = _closure(module)
    if not modules:
        return sha256(f"{module}.{name}".encode()).hexdigest()
    first, *rest = modules.pop(module), *(modules[one] for one in sorted(modules))
    digest = sha256(first.read_bytes())
    for path in rest:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def has_source(cls: type) -> bool:
    """Whether a class has source that `source_digest` reads, so that a change is noticed."""
    module = sys.modules.get(cls.__module__)
    return getattr(module, SOURCE, None) is not None or module_file(cls.__module__) is not None


def _closure(start: str) -> dict[str, Path]:
    """Files by module name: `start`, and what it imports from its top-level package."""
    files: dict[str, Path] = {}
    waiting = [start]
    while waiting:
        name = waiting.pop()
        path = None if name in files else module_file(name)
        if path is not None:
            files[name] = path
            waiting += _imports(name, path, path.stat().st_mtime_ns)
    return files if start in files else {}


def module_file(name: str) -> Path | None:
    """The source file of a module, found without importing anything."""
    top, *parts = name.split(".")
    package = sys.modules.get(top) or _not_imported(top)
    if not parts:
        init_file = getattr(package, "__file__", None) or getattr(package, "origin", None) or ""
        return Path(init_file) if init_file.endswith(".py") else None
    folders = getattr(package, "__path__", None)
    if folders is None:
        folders = getattr(package, "submodule_search_locations", None)
    for folder in folders or ():
        stem = Path(folder, *parts)
        for path in (stem.with_name(f"{stem.name}.py"), stem / "__init__.py"):
            if path.is_file():
                return path
    return None


def is_there(top: str) -> bool:
    """Whether there is a top-level module of this name, imported or not."""
    return top in sys.modules or _not_imported(top) is not None


def _not_imported(top: str) -> ModuleSpec | None:
    """Where a top-level module would come from."""
    try:
        return find_spec(top)
    except (ImportError, AttributeError, ValueError):  # an odd name, or a finder that is broken
        return None


@lru_cache(maxsize=1024)  # plugins of one package share most of what they import
def _imports(name: str, path: Path, changed: int) -> tuple[str, ...]:
    """What a module may import from its own top-level package, submodule or not.

    Args:
        name: of the module.
        path: its file.
        changed: when, so that what is remembered is of this version.
    """
    imported: list[str] = []
    top = name.partition(".")[0]
    parents = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = parents[: len(parents) + 1 - node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            targets = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        imported += [target for target in targets if target.partition(".")[0] == top]
    return tuple(imported)
