"""Step-Audio 2's tokenizer, from the checkpoint's own files, and text out of ids that arrive one by one.

Byte-level BPE of Qwen 2.5 with 6,709 added entries (specification: vocab.json, merges.txt, tokenizer_config.json of the
checkpoint). Text is always encoded without added entries: what a user or a tool wrote can never become a control or an
audio token, whatever it spells. Those are put in by id.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final, cast

from sayso.errors import ModelError, ModelMissingError
from sayso.models.step_audio2.config import PULL_HINT

CODEBOOK_SIZE: Final = 6561
"""Codes of the speech codec (3^8); `<audio_6561>` fills audio slots where there is no more sound."""

# Qwen 2.5's pre-tokenizer (tokenizer.json of the Qwen2 family).
_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_FILES = ("vocab.json", "merges.txt", "tokenizer_config.json")


class Tokenizer:
    """Ids of text and of control tokens.

    Attributes:
        size: One more than the highest id.
        eot: `<|EOT|>` ends a turn.
        bot: `<|BOT|>` begins one.
        tool_call: `<tool_call>` begins a call.
        tool_call_end: `</tool_call>` ends it.
        audio_start: Before the patches of a piece of sound.
        audio_end: After them.
        audio_patch: Stands for one vector of a piece of sound (80 ms).
        tts_start: Begins speech: text and audio ids interleaved.
        tts_end: Ends it.
        tts_pad: Fills text slots in it.
        audio_0: The id of code 0; code k has ``audio_0 + k``.
        audio_pad: `<audio_6561>` fills audio slots.
    """

    def __init__(self, bpe: Any, vocabulary: dict[str, int], added: dict[str, int]) -> None:
        """Use `Tokenizer.load`."""
        self._bpe = bpe
        self._vocabulary = vocabulary
        self.added = added
        self._marks = re.compile("(" + "|".join(map(re.escape, sorted(added, key=len, reverse=True))) + ")")
        self.size = 1 + max(max(vocabulary.values()), max(added.values()))
        self.text_size = 1 + max(vocabulary.values())
        self.eot = self.id_of("<|EOT|>")
        self.bot = self.id_of("<|BOT|>")
        self.tool_call = self.id_of("<tool_call>")
        self.tool_call_end = self.id_of("</tool_call>")
        self.audio_start = self.id_of("<audio_start>")
        self.audio_end = self.id_of("<audio_end>")
        self.audio_patch = self.id_of("<audio_patch>")
        self.tts_start = self.id_of("<tts_start>")
        self.tts_end = self.id_of("<tts_end>")
        self.tts_pad = self.id_of("<tts_pad>")
        self.audio_0 = self.id_of("<audio_0>")
        self.audio_pad = self.id_of(f"<audio_{CODEBOOK_SIZE}>")
        if self.audio_pad != self.audio_0 + CODEBOOK_SIZE:
            raise ModelError("The tokenizer's audio tokens are not in order.", "Use the checkpoint's own files.")

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Read the files of a checkpoint.

        Args:
            folder: Holds ``vocab.json``, ``merges.txt`` and ``tokenizer_config.json``.

        Raises:
            ModelMissingError: A file, or the package `tokenizers`, is not here.
            ModelError: A file is broken, or of another model.
        """
        for name in _FILES:
            if not (folder / name).is_file():
                raise ModelMissingError(
                    f"The checkpoint in {folder} has no {name}.",
                    PULL_HINT,
                )
        name = _FILES[0]
        try:
            vocabulary = {str(token): int(token_id) for token, token_id in _table(folder / name).items()}
            name = _FILES[2]
            entries = _table(folder / name)["added_tokens_decoder"]
            added = {entry["content"]: int(token_id) for token_id, entry in entries.items()}
            name = _FILES[1]
            merges = _read_merges(folder / name)
            return cls(_byte_pair_encoder(vocabulary, merges), vocabulary, added)
        except ModelError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(
                f"{folder / name} is no tokenizer file of Step-Audio 2 ({type(error).__name__}: {error}).", PULL_HINT
            ) from error

    def id_of(self, token: str) -> int:
        """The id of a control or audio token.

        Raises:
            ModelError: This tokenizer has no such token.
        """
        try:
            return self.added[token]
        except KeyError:
            raise ModelError(
                f"The tokenizer has no token {token}: it is not that of Step-Audio 2.",
                "Use the checkpoint's own files.",
            ) from None

    def encode(self, text: str) -> list[int]:
        """The ids of a text; none of them is a control or audio token. Lone surrogates become U+FFFD."""
        clean = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return self._bpe.encode(clean).ids

    def encode_marked(self, text: str) -> list[int]:
        """The ids of a text of our own, in which control and audio tokens are spelt out."""
        ids: list[int] = []
        for part in self._marks.split(text):
            ids += [self.added[part]] if part in self.added else self.encode(part)
        return ids

    def bytes_of(self, token_id: int) -> bytes:
        """The UTF-8 bytes that an id stands for, possibly a part of a character; none for ids that are not used."""
        return self.pieces[token_id] if 0 <= token_id < len(self.pieces) else b""

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids, control tokens spelt out; bytes that are no UTF-8 become U+FFFD."""
        return b"".join(map(self.bytes_of, ids)).decode("utf-8", "replace")

    def decoder(self) -> Decoder:
        """For ids that arrive one by one."""
        return Decoder(self)

    @cached_property
    def pieces(self) -> Sequence[bytes]:
        """The bytes of each id, by id."""
        byte_of = {character: byte for byte, character in _byte_characters().items()}
        pieces = [b""] * self.size
        for token, token_id in self._vocabulary.items():
            pieces[token_id] = bytes(byte_of[character] for character in token)
        for token, token_id in self.added.items():
            pieces[token_id] = token.encode()
        return pieces

    @cached_property
    def text_pieces(self) -> Sequence[bytes]:
        """As `pieces`, with nothing for control and audio tokens: what a grammar may use."""
        return [*self.pieces[: self.text_size], *[b""] * (self.size - self.text_size)]

    def is_text(self, token_id: int) -> bool:
        """Whether an id is one of ordinary text."""
        return 0 <= token_id < self.text_size

    def is_code(self, token_id: int) -> bool:
        """Whether an id is a code of the speech codec."""
        return self.audio_0 <= token_id < self.audio_pad


class Decoder:
    """Turns ids into text as they come; never gives out a part of a character.

    What it gave out, joined, equals `Tokenizer.decode` of all the ids.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, token_id: int) -> str:
        """The characters that ``token_id`` completes."""
        return self._utf8.decode(self._tokenizer.bytes_of(token_id))

    def finish(self) -> str:
        """What is left at the end: U+FFFD where a character was cut off."""
        return self._utf8.decode(b"", final=True)


def _byte_pair_encoder(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Any:
    try:
        import tokenizers
        from tokenizers import Regex, models, normalizers, pre_tokenizers
    except ImportError as error:
        raise ModelMissingError(
            f"The package tokenizers does not load: {error}.", "Install it with: pip install 'sayso[step-audio]'"
        ) from error
    split: Any = pre_tokenizers.Split
    try:
        bpe: Any = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    except Exception as error:  # it has no class of its own for this
        raise ValueError(f"vocabulary and merges are not of the same tokenizer: {error}") from error
    bpe.normalizer = normalizers.NFC()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [split(Regex(_PIECES), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    return bpe


def _table(path: Path) -> dict[str, Any]:
    """A JSON object."""
    values: Any = json.loads(path.read_text("utf-8"))
    if not isinstance(values, dict):
        raise TypeError("it is no JSON object")
    return cast("dict[str, Any]", values)


def _read_merges(path: Path) -> list[tuple[str, str]]:
    merges: list[tuple[str, str]] = []
    for line in path.read_text("utf-8").split("\n"):
        if line and not line.startswith("#version"):
            left, right = line.split(" ")
            merges.append((left, right))
    return merges


def _byte_characters() -> dict[int, str]:
    """How byte-level BPE writes each byte as a printable character (GPT-2, encoder.py)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + rank) for rank, byte in enumerate(others)}
