"""Where a command's log goes, and how much of it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def attach_logging(console: Console) -> None:
    """Show warnings on the console, each once."""
    from rich.logging import RichHandler

    told: set[str] = set()

    def first_time(record: logging.LogRecord) -> bool:
        """Whether this has not been said yet: every subject may have the same to say."""
        new = record.levelno < logging.WARNING or record.getMessage() not in told
        told.add(record.getMessage())
        return new

    handler = RichHandler(console=console, show_time=False, show_path=False)
    handler.addFilter(first_time)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    logging.captureWarnings(True)


def log_everything() -> None:
    """Log what the engine tells of its work, with the time and who says it."""
    from rich.logging import RichHandler

    logging.getLogger("privaudit").setLevel(logging.DEBUG)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, RichHandler):
            told = logging.Formatter("%(asctime)s %(name)s: %(message)s", "%H:%M:%S")
            handler.setFormatter(told)
