"""YAML with positions: what the file says, and on which line it says it.

Numbers, booleans and null are read by the core schema of YAML 1.2.2 (section 10.3.2), so that
`3e-4` is a number and `no` is text; PyYAML's own rules are those of YAML 1.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from privaudit.messages import Place
from privaudit.recipe.messages import Mistake

MAX_BYTES = 1 << 20  # of a recipe's file
MAX_VALUES = 100_000  # far above any recipe, far below what a bomb of aliases unfolds to
MAX_DEPTH = 50
_TAG = "tag:yaml.org,2002:"
_CORE = [
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+(?:_[0-9]+)*|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
]


class UnreadableError(Exception):
    """The text cannot be read at all.

    Attributes:
        line: where, from 1.
        message: what is wrong.
    """

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


@dataclass
class Document:
    """What a text says.

    Attributes:
        value: plain dicts with text as keys, lists and scalars.
        lines: the line of every value, from 1; of its key, where the value is a block.
        mistakes: keys given twice.
    """

    value: Any = None
    lines: dict[Place, int] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)

    def line(self, path: Place) -> int | None:
        """The line of a value, or of the nearest thing around it that the text holds."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {}  # noqa: RUF012 (PyYAML's own way to hold them)


class _Dumper(yaml.SafeDumper):
    """Quotes every text that YAML 1.1 or 1.2 would read as something else."""


def _integer(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


for _name, _pattern, _first in _CORE:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_TAG + _name, re.compile(f"^(?:{_pattern})$"), _first)
_Loader.add_constructor(_TAG + "int", _integer)


def parse(text: str) -> Document:
    """Read one YAML document.

    Raises:
        UnreadableError: it is not YAML, or unfolds to more than a recipe can need.
    """
    loader = None
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            document = Document()
            if node is not None:
                document.lines[()] = node.start_mark.line + 1
                document.value = _Reader(loader, document).value(node, ())
            return document
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        said = ", ".join(filter(None, [error.context, error.problem]))
        raise UnreadableError(line, f"is not valid YAML: {said} (column {column})") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UnreadableError(line, f"is not valid YAML: {error.reason}") from error
    except (ValueError, OverflowError) as error:  # an escape of no character, such as "\\U00110000"
        line = loader.line + 1 if loader else 1
        raise UnreadableError(line, f"is not valid YAML: {error}") from error
    except RecursionError as error:
        raise UnreadableError(1, f"is nested more than {MAX_DEPTH} deep") from error


def dump(data: Any) -> str:
    """Write plain data as YAML that `parse` reads back."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Reader:
    """Walks PyYAML's nodes, so that keys given twice are seen and every line is known."""

    def __init__(self, loader: yaml.SafeLoader, document: Document) -> None:
        self.loader = loader
        self.document = document
        self.count = 0

    def value(self, node: yaml.Node, path: Place, depth: int = 0) -> Any:
        self.count += 1
        line = node.start_mark.line + 1
        if self.count > MAX_VALUES:
            raise UnreadableError(line, f"its aliases unfold to more than {MAX_VALUES} values")
        if depth > MAX_DEPTH:
            raise UnreadableError(line, f"is nested more than {MAX_DEPTH} deep")
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self.mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            for index, item in enumerate(node.value):
                self.document.lines[(*path, index)] = item.start_mark.line + 1
            return [self.value(n, (*path, i), depth + 1) for i, n in enumerate(node.value)]
        return self.scalar(node)

    def scalar(self, node: yaml.Node) -> Any:
        try:
            value = self.loader.construct_object(node)
            if isinstance(value, str):
                value.encode()  # half a pair of surrogates is no character
            return value
        except (ValueError, OverflowError) as error:
            raise UnreadableError(
                node.start_mark.line + 1, f"is not valid YAML: {error}"
            ) from error

    def mapping(self, node: yaml.MappingNode, path: Place, depth: int) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _TAG + "merge":
                result |= self.merged(value_node, path, depth)
        key_lines: dict[Any, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == _TAG + "merge":
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise UnreadableError(line, "is not valid YAML: a key must be plain text")
            key = str(
                self.scalar(yaml.ScalarNode(_TAG + "str", key_node.value, key_node.start_mark))
            )
            if key in key_lines:
                message = f"is given twice, here and on line {key_lines[key]}"
                self.document.mistakes.append(Mistake((*path, key), message, line))
                continue
            key_lines[key] = line
            is_scalar = isinstance(value_node, yaml.ScalarNode)
            own_line = value_node.start_mark.line + 1 if is_scalar else line
            self.document.lines[(*path, key)] = own_line
            result[key] = self.value(value_node, (*path, key), depth + 1)
        return result

    def merged(self, node: yaml.Node, path: Place, depth: int) -> dict[Any, Any]:
        """The mapping, or the list of mappings (the first one wins), behind a `<<`."""
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        result: dict[Any, Any] = {}
        for item in reversed(nodes):
            value = self.value(item, path, depth + 1)
            if not isinstance(value, dict):
                line = node.start_mark.line + 1
                raise UnreadableError(line, "is not valid YAML: << must be given a mapping")
            result |= value
        return result
