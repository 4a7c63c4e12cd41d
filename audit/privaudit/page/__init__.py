"""A report as one HTML page that opens offline: no script, no request."""

from __future__ import annotations

from privaudit.page.page import page

__all__ = ["page"]
