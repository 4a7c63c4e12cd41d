"""torch.export files, loaded without what could run other code than torch's operators.

`torch.export.load` is not made for files of strangers. Of what a file says it unpickles some,
evaluates sizes as Python (sympy's `sympify`), writes names and `guards_code` into source that it
runs by `exec`, imports the modules that data structures name, and calls as a node whatever can be
reached from `torch`. So the file is read here, everything in it is held against what an exported
network needs, and a new one is written from it, in memory: what was looked at is what is loaded.
"""

from __future__ import annotations

import ast
import json
import operator
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from privaudit.readers.door import opened

_SAFE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
_PICKLED = ("custom_obj_", "opaque_obj_")
_CODE = (*_PICKLED, "aotinductor", "serialized_state_dict.json", "serialized_constants.json")
_NAMESPACES = {"aten", "prims", "torchvision", "quantized_decomposed"}
_HIGHER_ORDER = {"cond", "wrap_with_set_grad_enabled", "wrap_with_autocast", "while_loop", "scan"}
_SYMBOLIC = {"sym_int", "sym_float", "sym_not", "sym_max", "sym_min", "sym_sum", "sym_ite"}
_FILES = {"from_file"}  # operators that open files
_SIZES = {
    *("Symbol", "Integer", "Float", "Rational", "Add", "Mul", "Pow", "Max", "Min", "Mod", "Abs"),
    *("Eq", "Ne", "Lt", "Le", "Gt", "Ge", "And", "Or", "Not", "Piecewise", "Where", "ceiling"),
    *("floor", "FloorDiv", "ModularIndexing", "PythonMod", "CleanDiv", "CeilDiv", "CeilToInt"),
    *("FloorToInt", "IntTrueDiv", "FloatTrueDiv", "ToFloat", "TruncToInt", "TruncToFloat"),
    *("RoundToInt", "LShift", "RShift", "PowByNatural", "FloatPow", "Identity", "IsNonOverlapping"),
}
_SIZE_NODES = (
    *(ast.Expression, ast.Call, ast.keyword, ast.Name, ast.Load, ast.Constant, ast.BinOp),
    *(ast.UnaryOp, ast.Compare, ast.BoolOp, ast.operator, ast.unaryop, ast.cmpop, ast.boolop),
)
_STRUCTURES = {None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"}
_NAME = re.compile(r"[A-Za-z0-9_.+-]*")
_LONGEST = 2000  # characters of a size


def load_exported(path: Path) -> ExportedProgram:
    """A graph of torch's operators, and tensors: whatever else a file holds is refused.

    Raises:
        ValueError: it holds something else; or whatever torch raises.
    """
    checked = _checked(path)
    with _no_pickle():
        return torch.export.load(checked)


def _checked(path: Path) -> BytesIO:
    """The file anew, with nothing in it that was not looked at."""
    result, seen = BytesIO(), set[str]()
    with opened(path) as file, zipfile.ZipFile(file) as old, zipfile.ZipFile(result, "w") as new:
        for entry in old.infolist():
            name = entry.filename
            # torch finds entries whatever their case, so two that differ in it are one
            if name.lower() in seen or ".." in name or "\\" in name:
                raise ValueError(f"its entry {name!r} can be read in two ways")
            seen.add(name.lower())
            if any(part in name.lower() for part in _CODE):
                raise ValueError("it holds pickled objects or machine code, which is not run")
            data = old.read(entry)
            if name.endswith(".json"):
                data = json.dumps(_clean(json.loads(data))).encode()
            new.writestr(zipfile.ZipInfo(name), data)
    result.seek(0)
    return result


def _clean(value: Any) -> Any:
    """A part of what a file says, as JSON, without what nothing depends on but would be run."""
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_name(key): _KEYS.get(key, _clean)(item) for key, item in value.items()}
    return _name(value) if isinstance(value, str) else value


def _name(text: str) -> str:
    """What torch may write into source code, where it can then be nothing but a name."""
    if not _NAME.fullmatch(text):
        raise ValueError(f"it has a name that no code may hold: {text[:100]!r}")
    return text


def _operator(target: Any) -> Any:
    """The name of what a node calls."""
    parts = str(target).split(".")
    known = (
        (len(parts) == 5 and parts[:2] == ["torch", "ops"] and _is_operator(*parts[2:]))
        or (parts[:3] == ["torch", "ops", "higher_order"] and {*parts[3:]} <= _HIGHER_ORDER)
        or (len(parts) == 2 and parts[0] == "_operator" and _is_arithmetic(parts[1]))
        or (len(parts) == 2 and parts[0] == "math" and parts[1].isalnum())
        or (len(parts) == 2 and parts[0] == "torch" and parts[1].lstrip("_") in _SYMBOLIC)
    )
    if not known:
        raise ValueError(f"it calls {str(target)[:100]}, which is no operator of torch")
    return target


def _is_operator(namespace: str, name: str, overload: str) -> bool:
    if namespace not in _NAMESPACES or name in _FILES:
        return False
    packet = getattr(getattr(torch.ops, namespace), name, None)
    return isinstance(getattr(packet, overload, None), torch._ops.OpOverload)


def _is_arithmetic(name: str) -> bool:
    """Whether it is a function of `operator` that takes values, and calls nothing by name."""
    return hasattr(operator, name) and not name.endswith(("call", "caller", "attrgetter"))


def _size(text: Any) -> Any:
    """A size as sympy writes it, which is read by evaluating it."""
    try:
        if len(text) > _LONGEST:
            raise ValueError
        for node in ast.walk(ast.parse(text, mode="eval")):
            if not isinstance(node, _SIZE_NODES):
                raise ValueError
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") not in _SIZES:
                raise ValueError
            if isinstance(node, ast.Constant) and not _is_number_or_name(node.value):
                raise ValueError
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"it has a size that is no arithmetic: {str(text)[:100]}") from error
    return text


def _is_number_or_name(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and value.isidentifier())


def _structure(text: Any) -> Any:
    """How inputs or outputs are put together, as JSON in JSON."""
    return json.dumps(_structure_of(json.loads(text))) if isinstance(text, str) and text else text


def _structure_of(spec: Any) -> Any:
    if isinstance(spec, list):
        return [_structure_of(item) for item in spec]
    if isinstance(spec, dict):
        context = spec.get("context")
        inner = json.loads(context) if isinstance(context, str) else context
        names = inner if isinstance(inner, list) else [inner]
        if spec.get("type") not in _STRUCTURES or not all(map(_is_key, names)):
            raise ValueError(f"it takes or gives a {str(spec.get('type'))[:100]}")
        return {
            "type": spec["type"],
            "context": None if context is None else json.dumps(inner),
            "children_spec": _structure_of(spec.get("children_spec", [])),
        }
    return spec


def _is_key(name: Any) -> bool:
    return name is None or isinstance(name, int) or (isinstance(name, str) and name.isidentifier())


def _record(name: Any) -> Any:
    """The entry of a file that holds a tensor."""
    if not str(name).isidentifier() or str(name).lower().startswith(_PICKLED):
        raise ValueError("it holds pickled objects or machine code, which is not run")
    return name


def _refused(value: Any) -> Any:
    raise ValueError("it holds objects of other kinds than tensors and numbers")


_KEYS: dict[str, Callable[[Any], Any]] = {
    "target": _operator,
    "as_operator": _operator,
    "expr_str": _size,
    "in_spec": _structure,
    "out_spec": _structure,
    "path_name": _record,
    "as_custom_obj": _refused,
    "custom_obj": _refused,
    "as_string": lambda value: value,  # written as a literal
    "as_strings": lambda value: value,
    "treespec_namedtuple_fields": lambda value: {},
    "range_constraints": lambda value: {},
    "metadata": lambda value: {},  # where a node came from
    "guards_code": lambda value: [],  # what inputs have to be, as Python
}


@contextmanager
def _no_pickle() -> Iterator[None]:
    """Torch's own switch: `torch.load` then takes tensors alone, whoever calls it and how."""
    before = {
        name: os.environ.pop(name, None) for name in ("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", _SAFE)
    }
    os.environ[_SAFE] = "1"
    try:
        yield
    finally:
        del os.environ[_SAFE]
        os.environ.update({name: value for name, value in before.items() if value is not None})
