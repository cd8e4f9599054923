"""A checkpoint folder: looked through before anything is loaded, then loaded straight to the device.

Every fault that a folder can have is found from the index and the headers of the shards, in well under a second, and
raised as one error that names the file and what to do.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open

from sayso.errors import ModelError, ModelMissingError, UsageError
from sayso.models.step_audio2.config import PULL_HINT, StepAudio2Config, refuse_pointer
from sayso.models.step_audio2.layout import HEAD, Place, layout
from sayso.models.step_audio2.networks import Networks, quantize_rows, weight_bytes

INDEX_FILE: Final = "model.safetensors.index.json"
SINGLE_FILE: Final = "model.safetensors"
_FLOATS: Final = ("BF16", "F16", "F32")
_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class Inspection:
    """A folder that can be loaded.

    Attributes:
        config: Its sizes.
        shards: Its safetensors files, by name of the tensors in each that are used.
        unused: Tensors that nothing here needs.
    """

    config: StepAudio2Config
    shards: Mapping[Path, tuple[str, ...]]
    unused: tuple[str, ...] = ()


def inspect(folder: Path | str) -> Inspection:
    """Look through a checkpoint folder: config, index, shards, names and shapes. No weights are read.

    Raises:
        ModelMissingError: The folder, the index, shards or tensors are not there.
        UsageError: A file is damaged, or of another model or version.
    """
    folder = Path(folder)
    config = StepAudio2Config.read(folder)
    index, where = _weight_map(folder)
    expected = layout(config)
    _check_names(index, expected, where)
    shards: defaultdict[Path, list[str]] = defaultdict(list)
    for name in expected:
        shards[folder / index[name]].append(name)
    _check_files(shards)
    for path, names in shards.items():
        _check_shapes(path, {name: expected[name] for name in names}, config)
    unused = tuple(sorted(index.keys() - expected.keys()))
    return Inspection(config, {path: tuple(names) for path, names in shards.items()}, unused)


def load(
    folder: Path | str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.bfloat16,
    *,
    int8: bool = False,
    reserve_bytes: int = 0,
    free_bytes: int | None = None,
) -> Networks:
    """Load encoder and decoder. The files are memory-mapped and each tensor goes straight to its place on the device.

    Args:
        folder: Of the checkpoint.
        device: Such as ``cuda``, ``cuda:1`` or ``cpu``.
        dtype: bfloat16 (what the checkpoint holds), float16 or float32.
        int8: Round the decoder's matrices to 8 bits a number (see `Int8Linear`).
        reserve_bytes: Memory that has to be left for the cache and whatever else comes after.
        free_bytes: Memory that may be used; what is free on the device where None.

    Raises:
        ModelMissingError: See `inspect`.
        UsageError: See `inspect`; or there is no such device, or too little memory on it.
        ModelError: The device ran out of memory in spite of that, or a file could not be read to its end.
    """
    found = inspect(folder)
    target = _device(device)
    needed = weight_bytes(found.config, dtype, int8=int8), reserve_bytes
    _check_memory(*needed, free_memory(target) if free_bytes is None else free_bytes, target, folder)
    places = layout(found.config)
    try:
        networks = Networks.empty(found.config, target, dtype, int8=int8)
        tensors = networks.state_dict()
        for path, names in found.shards.items():
            with _opened(path) as file:
                for name in names:
                    _put(file.get_tensor(name), places[name], tensors)
    except torch.OutOfMemoryError as error:
        raise ModelError(f"{target} ran out of memory while {folder} was loaded.", _memory_hint(target)) from error
    return networks


def _put(value: torch.Tensor, place: Place, tensors: Mapping[str, torch.Tensor]) -> None:
    target = tensors[place.target]
    rows = slice(place.row, place.row + place.shape[0])
    if target.dtype == torch.int8:
        codes, scale = quantize_rows(value.to(target.device))
        target[rows] = codes
        tensors[place.target.removesuffix("weight") + "scale"][rows] = scale
    else:
        target[rows].copy_(value)


# --- index ------------------------------------------------------------------------------------------------------


def _weight_map(folder: Path) -> tuple[dict[str, str], Path]:
    """Which tensor is in which file, and the file that says so."""
    path = folder / INDEX_FILE
    single = folder / SINGLE_FILE
    if not path.is_file() and single.is_file():
        _check_files([single])
        with _opened(single) as file:
            return dict.fromkeys(file.keys(), SINGLE_FILE), single
    if not path.is_file():
        raise ModelMissingError(f"{folder} holds neither {INDEX_FILE} nor {SINGLE_FILE}.", PULL_HINT)
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
        index: dict[Any, Any] = dict(values["weight_map"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{path} is no index of a checkpoint ({type(error).__name__}: {error}).", PULL_HINT) from error
    for file in set(index.values()):
        if not isinstance(file, str) or Path(file).name != file:
            raise UsageError(f"{path} names {file!r}, which is no file beside it.", PULL_HINT)
    return index, path


def _check_names(index: Mapping[str, str], expected: Mapping[str, Place], where: Path) -> None:
    missing = [name for name in expected if name not in index]
    if not missing:
        return
    if missing == [HEAD]:
        raise ModelMissingError(
            f"{where} has no {HEAD}: it was saved with the head tied to the embeddings, and the head is lost.",
            "Use the original checkpoint, or save yours again with tie_word_embeddings set to false. " + PULL_HINT,
        )
    raise ModelMissingError(
        f"{where} lacks {_some(missing, 'tensor')}.",
        "The checkpoint is not whole, or its config.json is of another size. " + PULL_HINT,
    )


# --- shards -----------------------------------------------------------------------------------------------------


def _check_files(paths: Iterable[Path]) -> None:
    paths = sorted(paths)
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise ModelMissingError(f"{paths[0].parent} lacks {_some(missing, 'file')}.", PULL_HINT)
    for path in paths:
        refuse_pointer(path)


def _check_shapes(path: Path, expected: Mapping[str, Place], config: StepAudio2Config) -> None:
    with _opened(path) as file:
        held = set(file.keys())
        missing = [name for name in expected if name not in held]
        if missing:
            raise ModelMissingError(f"{path} lacks {_some(missing, 'tensor')} that the index says it has.", PULL_HINT)
        for name, place in expected.items():
            part = file.get_slice(name)
            shape, kind = tuple(part.get_shape()), part.get_dtype()
            if shape != place.shape:
                raise UsageError(
                    f"{path}: {name} has the shape {shape}, and by {config.source} it should be {place.shape}.",
                    "Config and weights are not of the same model. " + PULL_HINT,
                )
            if kind not in _FLOATS:
                raise UsageError(
                    f"{path}: {name} holds numbers of type {kind}; {', '.join(_FLOATS)} can be read.",
                    "Take the checkpoint in bfloat16; sayso rounds it to 8 bits itself where asked to.",
                )


class _opened:
    """A safetensors file, memory-mapped; what goes wrong with it names the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None

    def __enter__(self) -> Any:
        try:
            self._file = safe_open(str(self._path), framework="pt")
            return self._file.__enter__()
        except (SafetensorError, OSError) as error:
            raise UsageError(f"{self._path} is damaged or cut short ({error}).", PULL_HINT) from error

    def __exit__(self, *details: object) -> None:
        self._file.__exit__(*details)


def _some(names: list[str], kind: str) -> str:
    """Such as: 5 tensors: a, b, c and 2 more."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)} {kind}{'s' if len(names) > 1 else ''}: {', '.join(names[:_NAMED])}{more}"


# --- device -----------------------------------------------------------------------------------------------------


def _device(name: torch.device | str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise UsageError(f"There is no device {str(name)!r} here ({reason}).", "Use another, such as cpu.") from error
    return device


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free on a device, or None where nobody knows."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _check_memory(weights: int, reserve: int, free: int | None, device: torch.device, folder: Path | str) -> None:
    if free is None or free >= weights + reserve:
        return
    beside = f" beside {reserve / 1e9:.1f} GB for the cache" if reserve else ""
    raise UsageError(
        f"The weights in {folder} take {weights / 1e9:.1f} GB{beside}, and {device} has {free / 1e9:.1f} GB free.",
        _memory_hint(device),
    )


def _memory_hint(device: torch.device) -> str:
    return f"End what else uses {device}, take a larger device or a smaller cache, or load int8 weights (mini: 9.5 GB)."
