"""What of a module computes, as one digest: its syntax tree without the words in it.

A comment, a docstring or the wording of an error changes no number, and no digest; a constant
does. The digest is the same under every Python that reads the module.
"""

from __future__ import annotations

import ast
from functools import lru_cache
from hashlib import sha256
from typing import Any

WORDS = frozenset({"paper", "deviations"})
"""Attributes of classes that say something and compute nothing."""

DESCRIPTIONS = frozenset({"description"})
"""Keyword arguments of the same kind."""

_NOT_DUMPED = frozenset({"ctx", "kind", "type_comment", "type_params"})
"""Fields of syntax trees that say nothing more, or that only some Pythons have."""


@lru_cache(maxsize=4096)  # every page asks for the same modules
def digest(source: str) -> str:
    r"""Hash (16 hex digits) of what a module computes.

    Docstrings, comments, annotations of functions and variables, strings in those of fields,
    descriptions, `paper`, messages of errors and of the log, and imports for types alone are left
    out.

    >>> digest("def f(x):\n    return x + 1") == digest("def f(x: int):  # so\n    return x + 1")
    True
    >>> digest("RATE = 0.1") == digest("RATE = 0.2")
    False

    Raises:
        SyntaxError: it is no Python.
    """
    tree = _Computing().visit(ast.parse(source))
    return sha256(_dumped(tree).encode()).hexdigest()[:16]


class _Computing(ast.NodeTransformer):
    """Takes the words out of a syntax tree."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return None
        return None if _logs(node.value) else self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.body = [part for part in node.body if not WORDS & _assigned(part)]
        fields = [part for part in node.body if isinstance(part, ast.AnnAssign)]
        types = [_Unquoted().visit(self.visit(part.annotation)) for part in fields]
        self.generic_visit(node)
        for part, annotation in zip(fields, types, strict=True):
            part.annotation = annotation  # pydantic reads it, and so it computes
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_keyword(self, node: ast.keyword) -> ast.AST | None:
        return None if node.arg in DESCRIPTIONS else self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return _Wordless().visit(self.generic_visit(node))  # type: ignore[no-any-return]

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        node.values = [part for part in node.values if not _is_empty(part)]
        return self.generic_visit(node)

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        node.msg = None
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | None:
        for_types = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        return None if for_types and not node.orelse else self.generic_visit(node)


class _Wordless(ast.NodeTransformer):
    """Takes all strings out."""

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Constant("") if isinstance(node.value, str) else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return ast.Constant("")


class _Unquoted(_Wordless):
    """Takes the strings out of an annotation, but for those that are values of a `Literal`."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        literal = isinstance(node.value, ast.Name) and node.value.id == "Literal"
        return node if literal else self.generic_visit(node)


def _is_empty(part: ast.expr) -> bool:
    """Whether it is the empty string, which only some Pythons see in an f-string."""
    return isinstance(part, ast.Constant) and part.value == ""


def _logs(value: ast.expr) -> bool:
    function = value.func if isinstance(value, ast.Call) else None
    owner = function.value if isinstance(function, ast.Attribute) else None
    return isinstance(owner, ast.Name) and owner.id == "logger"


def _assigned(part: ast.stmt) -> set[str]:
    """The names that a statement gives a value."""
    targets = part.targets if isinstance(part, ast.Assign) else []
    targets = [part.target] if isinstance(part, ast.AnnAssign) else targets
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _dumped(node: Any) -> str:
    """A syntax tree as text; what is empty is left out, as only some Pythons hold it."""
    if isinstance(node, list):
        return f"[{','.join(map(_dumped, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [
        f"{name}={_dumped(value)}"
        for name in node._fields
        if name not in _NOT_DUMPED and (value := getattr(node, name, None)) not in (None, [])
    ]
    return f"{type(node).__name__}({','.join(fields)})"
