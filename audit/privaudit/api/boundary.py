"""The boundary through which the code of plugins is called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from privaudit.api.kinds.base import Plugin


@contextmanager
def guests(*plugins: Plugin) -> Iterator[None]:
    """Code of these plugins runs in the block."""
    yield
