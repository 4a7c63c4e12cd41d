"""Networks that would not fit into memory, noticed before their first weight is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from privaudit.api.plugin import Model
from privaudit.errors import DataError
from privaudit.messages import plain
from privaudit.readers.budget import allowed
from privaudit.readers.door import amount

_MAKERS = {torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn}
"""What layers make their weights with, which are told the size first."""


class _Counted(TorchFunctionMode):
    """Adds up what is made, and refuses what is too much.

    It draws nothing and calls nothing twice, so that weights are what they are without it.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self.most = allowed()
        self.size = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _MAKERS and kwargs.get("device") not in ("meta", torch.device("meta")):
            sizes = args[0] if args and isinstance(args[0], tuple | list) else args
            sizes = kwargs.get("size", sizes)
            dtype = kwargs.get("dtype") or torch.get_default_dtype()
            try:
                self.size += prod(map(int, sizes)) * dtype.itemsize
            except (TypeError, ValueError):  # torch says what is wrong with such a size
                return func(*args, **kwargs)
            if self.size > self.most:
                raise too_large(self.model, self.size, self.most)
        return func(*args, **kwargs)


@contextmanager
def within_memory(model: Model) -> Iterator[None]:
    """Build the network of a model, if there is memory for its weights.

    Raises:
        DataError: there is not; it names the model and its options.
    """
    try:
        with _Counted(model):
            yield
    except MemoryError as error:
        raise too_large(model) from error
    except RuntimeError as error:
        if "allocate memory" not in str(error):
            raise
        raise too_large(model) from error


def too_large(model: Model, size: int = 0, most: int = 0) -> DataError:
    """The error of a model whose weights do not fit."""
    options = ", ".join(f"{key}: {value}" for key, value in model if key != "name")
    what = f"takes {amount(size)} or more for its weights" if size else "takes too much memory"
    limit = f", and {amount(most)} may be used" if most else ""
    shown = options if len(options) <= 200 else f"{options[:200]}..."
    return DataError(plain(f"model {model.name!r} ({shown}) {what}{limit}: make it smaller"))
