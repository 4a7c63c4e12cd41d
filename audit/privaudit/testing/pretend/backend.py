"""The pretend accelerator as torch knows it."""

from __future__ import annotations

import torch

NAME = "pretend"
_registered: list[str] = []


class _Module:
    """What torch asks a device's module for."""

    def is_initialized(self) -> bool:
        return True

    def is_available(self) -> bool:
        return True

    def current_device(self) -> int:
        return 0

    def device_count(self) -> int:
        return 1

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        pass

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]

    def synchronize(self, *_: object) -> None:
        pass

    def empty_cache(self) -> None:
        pass


def available() -> bool:
    """Whether this torch has what the device is made of, and nobody else has taken it."""
    from torch.utils import backend_registration

    if torch._C._get_privateuse1_backend_name() not in ("privateuseone", NAME):
        return False
    return hasattr(backend_registration, "_setup_privateuseone_for_python_backend")


def device() -> torch.device:
    """The device, set up at the first call."""
    if not _registered:
        from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

        _setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
        _registered.append(NAME)
    return torch.device(NAME, 0)
