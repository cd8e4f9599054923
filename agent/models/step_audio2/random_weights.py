"""Networks and checkpoints with random weights: for tests, and to measure speed where no weights are at hand."""

from __future__ import annotations

import json
import shutil
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

import torch

from sayso.errors import UsageError
from sayso.models.step_audio2.checkpoint import INDEX_FILE
from sayso.models.step_audio2.config import CONFIG_FILE, StepAudio2Config
from sayso.models.step_audio2.layout import Place, layout
from sayso.models.step_audio2.networks import Networks, quantize_rows, weight_bytes

TOKENIZER_FILES: Final = (
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "added_tokens.json",
    "special_tokens_map.json",
    "tokenizer.json",
)
_SHARDS: Final = 4
_NUMBERS_AT_ONCE: Final = 1 << 24


class WritePart(Protocol):
    """Writes another part of a checkpoint into a folder of its own."""

    def __call__(self, folder: Path, /, *, tiny: bool, seed: int) -> object:
        """Make the folder and fill it."""
        ...


def write_random(
    folder: Path | str,
    config: StepAudio2Config | None = None,
    *,
    tiny: bool = False,
    seed: int = 0,
    tokenizer: Path | str | None = None,
    token2wav: WritePart | None = None,
) -> Path:
    """Write a checkpoint of the public layout with random weights in bfloat16, in up to four shards.

    Args:
        folder: Where; made where it is not there, and empty where it is.
        config: Other sizes than those of mini.
        tiny: Where no config is given: sizes for tests (41 MB, real vocabulary) instead of those of mini (16.6 GB).
        seed: The same seed writes the same bytes.
        tokenizer: A folder whose tokenizer files are copied, or None.
        token2wav: Writes the part that turns tokens into sound, into the folder ``token2wav``; its `write_random`.

    Returns:
        The folder.

    Raises:
        UsageError: The folder is not empty, there is no room for it, or ``tokenizer`` holds no tokenizer.
    """
    folder = Path(folder)
    config = config or (StepAudio2Config.tiny() if tiny else StepAudio2Config.mini())
    copied = _tokenizer_files(tokenizer)
    places = layout(config)
    size = weight_bytes(config, torch.bfloat16)
    _prepare(folder, size)
    (folder / CONFIG_FILE).write_text(json.dumps(config.to_json(), indent=2), encoding="utf-8")
    for file in copied:
        shutil.copyfile(file, folder / file.name)
    generator = torch.Generator().manual_seed(seed)
    index: dict[str, str] = {}
    shards = _shards(places)
    for number, part in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        _write_shard(folder / name, part, generator)
        index |= dict.fromkeys(part, name)
    if token2wav is not None:
        token2wav(folder / "token2wav", tiny=tiny, seed=seed)
    # Last, so that a folder that was left half written says so.
    facts = {"metadata": {"total_size": size}, "weight_map": index}
    (folder / INDEX_FILE).write_text(json.dumps(facts, indent=2), encoding="utf-8")
    return folder


def random_networks(
    config: StepAudio2Config,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.bfloat16,
    *,
    int8: bool = False,
    seed: int = 0,
) -> Networks:
    """Networks with random weights, made on the device: nothing touches the disk."""
    networks = Networks.empty(config, device, dtype, int8=int8)
    tensors = networks.state_dict()
    generator = torch.Generator(device).manual_seed(seed)
    for name, place in layout(config).items():
        target = tensors[place.target]
        rows = slice(place.row, place.row + place.shape[0])
        if target.dtype == torch.int8:
            value = torch.empty(place.shape, device=device, dtype=torch.float32)
            target[rows], tensors[place.target.removesuffix("weight") + "scale"][rows] = quantize_rows(
                _fill(value, name, place, generator)
            )
        else:
            _fill(target[rows], name, place, generator)
    return networks


def _fill(tensor: torch.Tensor, name: str, place: Place, generator: torch.Generator) -> torch.Tensor:
    """Uniform numbers of variance 1 / inputs, so that what goes through keeps its size; norms are about 1."""
    if len(place.shape) > 1:
        bound = (3 * place.shape[0] / place.size) ** 0.5
        return tensor.uniform_(-bound, bound, generator=generator)
    centre = 1.0 if name.endswith(".weight") else 0.0
    return tensor.uniform_(centre - 0.1, centre + 0.1, generator=generator)


def _shards(places: dict[str, Place]) -> list[dict[str, Place]]:
    """Cut the tensors, in their order, into at most four runs of about the same size."""
    total = sum(place.size for place in places.values())
    ends = list(accumulate(place.size for place in places.values()))
    shard = [min(_SHARDS - 1, (end - 1) * _SHARDS // total) for end in ends]
    return [
        {name: place for (name, place), one in zip(places.items(), shard, strict=True) if one == number}
        for number in sorted(set(shard))
    ]


def _write_shard(path: Path, places: dict[str, Place], generator: torch.Generator) -> None:
    """One safetensors file: the length of a JSON header (8 bytes, little-endian), the header, the numbers."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, place in places.items():
        end = offset + 2 * place.size
        header[name] = {"dtype": "BF16", "shape": place.shape, "data_offsets": [offset, end]}
        offset = end
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for name, place in places.items():
            _write_numbers(file, name, place, generator)


def _write_numbers(file: BinaryIO, name: str, place: Place, generator: torch.Generator) -> None:
    for begin in range(0, place.size, _NUMBERS_AT_ONCE):
        block = torch.empty(min(_NUMBERS_AT_ONCE, place.size - begin), dtype=torch.bfloat16)
        file.write(_fill(block, name, place, generator).view(torch.uint8).numpy().data)


def _tokenizer_files(folder: Path | str | None) -> list[Path]:
    if folder is None:
        return []
    files = [Path(folder) / name for name in TOKENIZER_FILES]
    if not files[0].is_file():
        raise UsageError(f"{folder} holds no vocab.json.", "Name a folder with the tokenizer files of Step-Audio 2.")
    return [file for file in files if file.is_file()]


def _prepare(folder: Path, size: int) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there already and not an empty folder.", "Name another.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise UsageError(f"{folder} cannot be made: {error.strerror}.", "Name another.") from error
    if free < size:
        raise UsageError(f"{folder} needs {size / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free.", "Make room.")
