"""A program of its own: what torch.save wrote, as tensors alone, within limits.

`python -m privaudit.readers.unpickling FOLDER MEMORY < FILE` writes the tensors of a state dict to
`FOLDER/tensors.safetensors`, and prints as JSON their names, or what is wrong. Nothing but this
process is lost where a file takes more memory or time than there is.
"""

from __future__ import annotations

import json
import pickle
import re
import resource
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PosixPath
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

SECONDS = 600  # of processor time
WRAPPERS = ("state_dict", "model_state_dict", "model", "module")
"""Where programs that save more than weights keep the weights, the likeliest first."""

_DEEPEST = 4
_HARMLESS: list[Any] = [
    Namespace,
    PosixPath,
]  # what programs keep beside weights; both hold values alone
_GLOBAL = re.compile(r"(?:GLOBAL|class|type) ([\w.]+)")


class _Refused(Exception):  # noqa: N818 (what is said is the file's fault)
    pass


def main(folder: str, memory: str) -> None:
    """Read a state dict from standard input."""
    said: dict[str, Any]
    try:
        _limit(int(memory))
        names, left_out = _written(_loaded(), Path(folder) / "tensors.safetensors")
        said = {"names": names, "left_out": left_out}
    except _Refused as error:
        said = {"wrong": str(error)}
    except MemoryError:
        said = {"wrong": "memory"}
    except Exception as error:  # torch raises whatever its readers come upon
        text = (str(error).strip() or type(error).__name__).splitlines()[0]
        said = {"wrong": "memory" if "memory" in text else f"it is damaged: {text}"}
    json.dump(said, sys.stdout)


def _limit(memory: int) -> None:
    """Keep this process from taking more bytes than it has, and so many."""
    with suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


def _loaded() -> Any:
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            return torch.load(sys.stdin.buffer, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        foreign = _GLOBAL.search(str(error))
        if foreign is None:
            raise
        raise _Refused(
            f"it holds a {foreign[1]}, and unpickling such an object could run any code, so it is "
            "never done: save the weights alone, torch.save(network.state_dict(), PATH)"
        ) from error


def _written(saved: Any, path: Path) -> tuple[dict[str, str], list[str]]:
    """Each name with that of its tensor in the file, and what was left out."""
    taken, state = _chosen(saved)
    left_out = list(_others(saved, taken))
    left_out += [str(name) for name, value in state.items() if not isinstance(value, Tensor)]
    tensors: dict[str, Tensor] = {}
    names: dict[str, str] = {}
    known: dict[Any, str] = {}
    for name, value in state.items():
        if not isinstance(value, Tensor):
            continue
        where = (value.untyped_storage().data_ptr(), value.storage_offset()) if _plain(value) else 0
        key = (where or id(value), tuple(value.shape), value.stride() if where else (), value.dtype)
        if key not in known:
            known[key] = str(len(known))
            tensors[known[key]] = _dense(str(name), value)
        names[str(name)] = known[key]
    save_file(tensors, path)
    return names, left_out


def _chosen(
    saved: Any, depth: int = 0, place: tuple[str, ...] = ()
) -> tuple[Any, Mapping[Any, Any]]:
    """The state dict in what was saved, and the keys that lead to it."""
    if not isinstance(saved, Mapping):
        raise _Refused(f"it holds a {type(saved).__name__}, not a state dict")
    for key in WRAPPERS:
        if isinstance(saved.get(key), Mapping) and depth < _DEEPEST:
            return _chosen(saved[key], depth + 1, (*place, key))
    if _has_tensors(saved):
        return place, saved
    inner = [key for key, value in saved.items() if _has_tensors(value)]
    if len(inner) == 1:
        return (*place, inner[0]), saved[inner[0]]
    if inner:
        names = ", ".join(map(str, inner[:5]))
        raise _Refused(f"it holds several state dicts ({names}): save one of them alone")
    keys = ", ".join(str(key)[:40] for key in list(saved)[:5])
    raise _Refused(f"it holds no tensors by name (its keys: {keys or 'none'})")


def _others(saved: Any, place: tuple[str, ...]) -> Iterator[str]:
    """What stands beside the state dict, at each step down to it."""
    for key in place:
        yield from (str(name) for name in saved if name != key)
        saved = saved[key]


def _has_tensors(value: Any) -> bool:
    return isinstance(value, Mapping) and any(
        isinstance(name, str) and isinstance(item, Tensor) for name, item in value.items()
    )


def _plain(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided and tensor.device.type == "cpu"


def _dense(name: str, tensor: Tensor) -> Tensor:
    if tensor.device.type != "cpu" or tensor.is_quantized:
        kind = "quantised" if tensor.is_quantized else f"on the device {tensor.device.type}"
        raise _Refused(f"{name[:80]} is {kind}: save it as floating-point numbers, with its values")
    whole = tensor.detach() if tensor.layout == torch.strided else tensor.detach().to_dense()
    return whole.clone(memory_format=torch.contiguous_format)


if __name__ == "__main__":
    main(*sys.argv[1:])
