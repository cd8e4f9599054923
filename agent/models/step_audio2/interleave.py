"""Speech in the id stream ("TTS-TA4"): after `<tts_start>`, groups of one text id and four audio ids up to `<tts_end>`.

Where the text is over, text slots hold `<tts_pad>`; where the sound is over, audio slots hold `<audio_6561>`. After
`<tts_end>` plain text or a call may follow (specification, section 4). Reading goes by the ids alone, not by their
place in a group, so that no cut and no slip of the model can shift one stream into the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from sayso.errors import UsageError
from sayso.models.step_audio2.tokenizer import CODEBOOK_SIZE, Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

AUDIO_IDS_PER_TEXT_ID = 4
CODES_PER_SECOND = 25
"""Of the speech codec: one second of speech takes 25 audio ids and 6.25 text ids."""

Kind: TypeAlias = Literal["spoken", "written", "call", "code", "tts_start", "tts_end", "stop"]


@dataclass(frozen=True, slots=True)
class Part:
    """What one id is.

    Attributes:
        kind: ``spoken``: text inside speech; ``written``: text outside; ``call``: text of a call, its marks
            included; ``code``: sound; ``tts_start``, ``tts_end``: borders of speech; ``stop``: the end of the turn.
        value: The code (0 to 6560) where it is sound, else the id.
    """

    kind: Kind
    value: int


class Splitter:
    """Tells the text, the sound and the calls of one generation apart, id by id.

    Pads and control ids that mean nothing here give no part. Sound inside a call is dropped: a call closes speech, and
    nothing of it can ever be heard. Only the ids of the marks begin and end a call; text that spells them does not.

    Attributes:
        speaking: Inside speech.
        in_call: Inside a call.
    """

    def __init__(self, tokenizer: Tokenizer, *, speaking: bool = False, in_call: bool = False) -> None:
        """Begin where the prompt ended: after `<tts_start>` (``speaking``), `<tool_call>` (``in_call``) or neither."""
        self._tokenizer = tokenizer
        self._stops = frozenset(stop_ids(tokenizer))
        self.speaking = speaking
        self.in_call = in_call

    def feed(self, token_id: int) -> Part | None:
        """Read the next id."""
        tokenizer = self._tokenizer
        if tokenizer.is_text(token_id):
            return Part("call" if self.in_call else "spoken" if self.speaking else "written", token_id)
        if tokenizer.is_code(token_id):
            return None if self.in_call else Part("code", token_id - tokenizer.audio_0)
        if token_id == tokenizer.tool_call:
            self.in_call, self.speaking = True, False
            return Part("call", token_id)
        if token_id == tokenizer.tool_call_end:
            self.in_call = False
            return Part("call", token_id)
        if token_id in self._stops:
            self.in_call = self.speaking = False
            return Part("stop", token_id)
        if token_id == tokenizer.tts_start and not self.in_call:
            self.speaking = True
            return Part("tts_start", token_id)
        if token_id == tokenizer.tts_end:
            self.speaking = False
            return Part("tts_end", token_id)
        return None


@dataclass(frozen=True, slots=True)
class Split:
    """A whole generation, taken apart.

    Attributes:
        text: Ids of what is spoken.
        codes: Codes of the sound, each 0 to 6560.
        after: Ids of plain text and calls outside speech, marks of calls included.
        ended: Speech was closed, or there was none.
        stopped: The turn was closed.
    """

    text: tuple[int, ...] = ()
    codes: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    ended: bool = True
    stopped: bool = False


def split(tokenizer: Tokenizer, ids: Iterable[int], *, speaking: bool = True) -> Split:
    """Take a generation apart that went on from `<tts_start>` (or from a plain header)."""
    splitter = Splitter(tokenizer, speaking=speaking)
    found: dict[Kind, list[int]] = {}
    ended = not speaking
    for token_id in ids:
        if part := splitter.feed(token_id):
            found.setdefault("written" if part.kind == "call" else part.kind, []).append(part.value)
            ended = not splitter.speaking
    return Split(
        text=tuple(found.get("spoken", ())),
        codes=tuple(found.get("code", ())),
        after=tuple(found.get("written", ())),
        ended=ended,
        stopped="stop" in found,
    )


def build(tokenizer: Tokenizer, text: Sequence[int], codes: Sequence[int], after: Sequence[int] = ()) -> list[int]:
    """Interleave text and sound as the model does; `<tts_start>` goes before it, `<|EOT|>` behind.

    Args:
        tokenizer: For the ids.
        text: Ids of what is spoken.
        codes: Codes of the sound, each 0 to 6560.
        after: Ids of what follows `<tts_end>`.

    Raises:
        UsageError: A code or a text id is none.
    """
    if any(not 0 <= code < CODEBOOK_SIZE for code in codes):
        raise UsageError("A code of the speech codec is not among 0 to 6560.")
    if not all(map(tokenizer.is_text, text)):
        raise UsageError("An id of the spoken text is a control or audio token.")
    per_group = AUDIO_IDS_PER_TEXT_ID
    groups = max(len(text), -(-len(codes) // per_group))
    words = [*text, *[tokenizer.tts_pad] * (groups - len(text))]
    sounds = [tokenizer.audio_0 + code for code in codes]
    sounds += [tokenizer.audio_pad] * (per_group * groups - len(codes))
    ids: list[int] = []
    for group, word in enumerate(words):
        ids += [word, *sounds[per_group * group : per_group * (group + 1)]]
    return [*ids, tokenizer.tts_end, *after]


def stop_ids(tokenizer: Tokenizer) -> tuple[int, ...]:
    """The ids that end a turn; the last two are Qwen's, which stop robust implementations too (section 2.4)."""
    return tokenizer.eot, tokenizer.id_of("<|endoftext|>"), tokenizer.id_of("<|im_end|>")


def up_to_code(tokenizer: Tokenizer, ids: Sequence[int], count: int) -> tuple[int, ...]:
    """The start of a generation that was heard: up to its ``count``-th code; nothing of it for 0."""
    if count <= 0:
        return ()
    for index, token_id in enumerate(ids):
        count -= tokenizer.is_code(token_id)
        if count == 0:
            return tuple(ids[: index + 1])
    return tuple(ids)


def up_to_text(tokenizer: Tokenizer, ids: Sequence[int], text: str) -> tuple[int, ...]:
    """The start of a spoken generation that holds these words: up to the group in which the last of them begins.

    Words are compared by their letters and figures: a history may have other blanks and punctuation than was written.
    """
    wanted = _letters(text)
    decoder, splitter = tokenizer.decoder(), Splitter(tokenizer, speaking=True)
    heard = 0
    for index, token_id in enumerate(ids):
        part = splitter.feed(token_id)
        if heard >= wanted and not (part is not None and part.kind == "code"):
            return tuple(ids[:index])
        if part is not None and part.kind == "spoken":
            heard += _letters(decoder.feed(token_id))
    return tuple(ids)


def closed(tokenizer: Tokenizer, ids: Sequence[int], *, speaking: bool, in_call: bool = False) -> tuple[int, ...]:
    """A generation that was cut off, with the ids that close what is open; one that is whole stays as it is."""
    splitter = Splitter(tokenizer, speaking=speaking, in_call=in_call)
    stopped = False
    for token_id in ids:
        part = splitter.feed(token_id)
        stopped = part is not None and part.kind == "stop"
    if stopped:
        return (*ids[:-1], tokenizer.eot)
    ends = [tokenizer.tool_call_end] if splitter.in_call else [tokenizer.tts_end] if splitter.speaking else []
    return (*ids, *ends, tokenizer.eot)


@dataclass(slots=True)
class SpokenLine:
    """A `sayso.engine.Guide` that has the model speak a given line: it chooses the sound alone.

    Text slots hold the line's ids, one after another, then `<tts_pad>` or `<tts_end>` as the model likes. Audio slots
    hold codes; the pad only once the line is over, and from the first one on. The prompt ends with `<tts_start>`.

    Attributes:
        tokenizer: For the ids.
        text: The ids of the line.
        vocab_size: Width of the network's logits.
    """

    tokenizer: Tokenizer
    text: Sequence[int]
    vocab_size: int
    _place: int = field(default=0, init=False)
    _sound_over: bool = field(default=False, init=False)
    _ended: bool = field(default=False, init=False)
    _masks: dict[Literal["codes", "codes_or_pad", "pad_or_end"], Tensor] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        from sayso.engine.masks import mask_of

        tokenizer = self.tokenizer
        codes = range(tokenizer.audio_0, tokenizer.audio_pad)
        self._masks = {
            "codes": mask_of(codes, self.vocab_size),
            "codes_or_pad": mask_of((*codes, tokenizer.audio_pad), self.vocab_size),
            "pad_or_end": mask_of((tokenizer.tts_pad, tokenizer.tts_end), self.vocab_size),
        }

    def constraint(self) -> int | Tensor | None:
        """What the next id may be."""
        if self._ended:
            return self.tokenizer.eot
        group, slot = divmod(self._place, AUDIO_IDS_PER_TEXT_ID + 1)
        if slot:
            if self._sound_over:
                return self.tokenizer.audio_pad
            return self._masks["codes_or_pad" if group >= len(self.text) else "codes"]
        if group < len(self.text):
            return self.text[group]
        return self.tokenizer.tts_end if self._sound_over else self._masks["pad_or_end"]

    def accept(self, token_id: int) -> None:
        """Take note of the id that was generated."""
        self._place += 1
        self._sound_over |= token_id == self.tokenizer.audio_pad
        self._ended |= token_id == self.tokenizer.tts_end


def _letters(text: str) -> int:
    return sum(character.isalnum() for character in text)
