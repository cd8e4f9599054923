"""Reading ``flow.pt`` and ``hift.pt``: shapes are checked before anything is used, and no code in them is run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from sayso.errors import ModelMissingError, UsageError
from sayso.models.step_audio2.config import PULL_HINT, refuse_pointer

AnyModule = TypeVar("AnyModule", bound=nn.Module)


def read_tensors(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a ``.pt`` file, mapped into memory: to replace it, rename a new file over it.

    Args:
        path: The file.
        prefix: Taken off the names that begin with it.

    Raises:
        ModelMissingError: The file is not there.
        UsageError: It is no file of tensors.
    """
    if not path.is_file():
        raise ModelMissingError(f"{path} is not there.", PULL_HINT)
    refuse_pointer(path)
    try:
        loaded = _load(path)
    except Exception as error:  # whatever the unpickler makes of bytes that are no pickle
        first = (str(error).splitlines() or [""])[0].split(". ")[0].rstrip(".")
        reason = first or type(error).__name__
        raise UsageError(f"{path} cannot be read: {reason}.", "It may be cut off. " + PULL_HINT) from error
    if not isinstance(loaded, Mapping):
        raise UsageError(f"{path} holds no table of weights.", PULL_HINT)
    table = cast("Mapping[Any, Any]", loaded)
    if not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in table.items()):
        raise UsageError(f"{path} holds more than named weights.", PULL_HINT)
    return {str(key).removeprefix(prefix): value for key, value in table.items()}


def fill(module: AnyModule, weights: Mapping[str, Tensor], path: Path) -> AnyModule:
    """Put weights into a module made on the meta device, once all names and shapes agree.

    Raises:
        UsageError: A weight is missing, too many, or of another shape.
    """
    expected = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    missing = sorted(expected.keys() - weights.keys())
    strange = sorted(weights.keys() - expected.keys())
    wrong = [name for name in expected if name in weights and tuple(weights[name].shape) != expected[name]]
    if missing or strange:
        raise UsageError(
            f"{path} does not hold this model: {len(missing)} weights are missing ({_some(missing)}), "
            f"{len(strange)} are unknown ({_some(strange)}).",
            "Use the files of one checkpoint together.",
        )
    if wrong:
        found = tuple(weights[wrong[0]].shape)
        raise UsageError(
            f"{path}: {wrong[0]} has the shape {found}, expected {expected[wrong[0]]}.",
            "Use the files of one checkpoint together.",
        )
    module.load_state_dict(dict(weights), strict=True, assign=True)
    return module.requires_grad_(False).eval()


def _load(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap" not in str(error):
            raise
        return torch.load(path, map_location="cpu", weights_only=True)  # a file of before torch 1.6


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "") if names else "none"
