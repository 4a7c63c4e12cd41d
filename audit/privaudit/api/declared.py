"""What a plugin's module says it provides, read from its source without running any of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import EntryPoint

from privaudit.api.source import is_there, module_file
from privaudit.errors import PluginError

KIND_OF = {
    "Dataset": "dataset",
    "Model": "model",
    "Sparsifier": "sparsifier",
    "Defense": "defense",
    "Attack": "attack",
}
"""The kinds by their classes' names; the classes import torch, for which a shell cannot wait."""

_HOOK = "privaudit_provide"  # as `hooks` has them, which would take longer to import
_LISTEN = "privaudit_event"


@dataclass(frozen=True)
class Declared:
    """A plugin that a module's source declares.

    Attributes:
        kind: of plugin.
        name: what recipes call it.
        summary: the first line of its docstring.
        module: that defines the class.
        cls: the class's name.
    """

    kind: str
    name: str
    summary: str
    module: str
    cls: str


def declared(entry_point: EntryPoint) -> tuple[Declared, ...] | None:
    """The plugins of an entry point, where its source says plainly which they are.

    Plainly: the module's `privaudit_provide` returns a list of classes by their names, and each
    is a class, of this module or of one of its package, that derives from a kind of plugin and has
    `name: Literal["..."] = "..."`.

    Returns:
        None where only running the module would tell.

    Raises:
        PluginError: there is no such module, or it is no Python.
    """
    module = entry_point.value.partition("[")[0].strip()
    if ":" in module:
        return None
    if not is_there(module.partition(".")[0]):
        raise PluginError(f"ModuleNotFoundError: No module named {module.partition('.')[0]!r}")
    scope = _Scope.of(module)
    if scope is None:
        return None
    names = [] if _only_listens(scope.tree) else _returned(scope.tree)
    found = None if names is None else [scope.plugin(name) for name in names]
    if found is None or None in found:
        return None
    return tuple(one for one in found if one is not None)


def may_listen(entry_point: EntryPoint) -> bool:
    """Whether the source of an entry point's module names the hook that hears what runs tell."""
    path = module_file(entry_point.module)
    with suppress(OSError):
        return path is not None and _LISTEN.encode() in path.read_bytes()
    return False


@dataclass(frozen=True)
class _Scope:
    """A module's source."""

    module: str
    tree: ast.Module
    is_package: bool

    @classmethod
    def of(cls, module: str) -> _Scope | None:
        """Read a module; None where it has no source, as one that is built of C."""
        path = module_file(module)
        if path is None:
            return None
        try:
            tree = ast.parse(path.read_bytes())
        except OSError as error:
            raise PluginError(f"{path} cannot be read: {error.strerror}") from error
        except SyntaxError as error:
            where = f"{path}:{error.lineno}" if error.lineno else f"{path}"
            raise PluginError(f"{where}: {type(error).__name__}: {error.msg}") from error
        except (ValueError, RecursionError, MemoryError) as error:
            raise PluginError(f"{path}: {type(error).__name__}: {error}") from error
        return cls(module, tree, path.name == "__init__.py")

    def plugin(self, name: str, depth: int = 0) -> Declared | None:
        """The plugin that a name stands for in this module."""
        scope, cls = self.definition(name)
        if scope is None or cls is None:
            return None
        kind = called = ""
        for base in cls.bases:
            kind = kind or KIND_OF.get(_last(base), "")
            if not kind and isinstance(base, ast.Name) and depth < len(KIND_OF):
                above = scope.plugin(base.id, depth + 1)
                kind, called = (above.kind, above.name) if above else ("", "")
        called = next(_names(cls), called)
        if not kind or (not called and not depth):
            return None
        summary = (ast.get_docstring(cls) or "").strip().partition("\n")[0]
        return Declared(kind, called, summary, scope.module, cls.name)

    def definition(self, name: str) -> tuple[_Scope | None, ast.ClassDef | None]:
        """Where the class is defined that a name stands for, and its definition."""
        for node in self.tree.body:
            if isinstance(node, ast.ClassDef) and node.name == name:
                return self, node
            if not isinstance(node, ast.ImportFrom):
                continue
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    source = self._source(node)
                    return source.definition(alias.name) if source else (None, None)
        return None, None

    def _source(self, node: ast.ImportFrom) -> _Scope | None:
        """The module that something is imported from, where it is of the same package."""
        parents = self.module.split(".") if self.is_package else self.module.split(".")[:-1]
        above = parents[: len(parents) + 1 - node.level] if node.level else []
        target = ".".join([*above, *filter(None, [node.module])])
        same = target.partition(".")[0] == self.module.partition(".")[0] and target != self.module
        return _Scope.of(target) if same else None


def _only_listens(tree: ast.Module) -> bool:
    """Whether a module hears what runs tell, and says nothing of plugins."""
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return _LISTEN in functions and _HOOK not in functions | named


def _returned(tree: ast.Module) -> list[str] | None:
    """The names in the list that the hook returns, where it does nothing else."""
    hooks = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == _HOOK]
    if len(hooks) != 1:
        return None
    body = [n for n in hooks[0].body if not isinstance(n, ast.Expr)]
    if len(body) != 1 or not isinstance(body[0], ast.Return):
        return None
    value = body[0].value
    if not isinstance(value, ast.List):
        return None
    names = [item.id for item in value.elts if isinstance(item, ast.Name)]
    return names if len(names) == len(value.elts) else None


def _names(cls: ast.ClassDef) -> Iterator[str]:
    for node in cls.body:
        named = isinstance(node, ast.AnnAssign) and _last(node.target) == "name"
        value = node.value if isinstance(node, ast.AnnAssign) and named else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield value.value


def _last(node: ast.expr) -> str:
    """The last part of a dotted name."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
