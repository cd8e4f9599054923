"""One answer of the language model, decoded through a grammar with text that is certain put into the prompt.

A token that is decoded costs a whole pass through the model (about 75 ms with the 1.5 B model on two cores); in a
prompt it costs a third of that. So the name of the tool is asked for token by token until it is certain, then all that
follows up to the first value is put into the prompt at once; and what is certain at the end is not decoded at all.

Where the text is cut matters: the model was trained on whole tokens. A cut is made behind an opening quote, or before a
run of punctuation, because there Qwen's tokens end whatever comes next.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing

from sayso.errors import ModelError
from sayso.models.llm.nodes import Alt, Grammar, Lit, Seq, Walker, lark
from sayso.models.llm.runner import GREEDY, LlamaRunner, Sampling, Truncated, Usage

MAX_TOKENS = 256
_PUNCTUATION = '":{}[],'
_OPENING_QUOTE = re.compile(r'[:{\[,]"')
_WORTH_CHARS = 5


class Answer:
    """Decodes one answer; `pieces` yields its text (after the prompt), `usage` says what it took."""

    def __init__(
        self,
        runner: LlamaRunner,
        prompt: str,
        grammar: Grammar,
        *,
        jump: bool = True,
        sampling: Sampling = GREEDY,
        max_tokens: int | None = None,
    ) -> None:
        self._runner = runner
        self._prompt = prompt
        self._walker = Walker(grammar)
        self._jump = jump
        self._sampling = sampling
        self._max_tokens = MAX_TOKENS if max_tokens is None else min(max_tokens, MAX_TOKENS)
        self.usage = Usage()

    async def pieces(self) -> AsyncGenerator[str, None]:
        """The text, as it becomes known.

        Raises:
            ModelError: The model failed or did not keep to the grammar.
            Truncated: It wrote too much.
        """
        named = False
        while not self._walker.must_end:
            if certain := self._certain():
                yield self._take(certain)
                named = named or '"' in certain
            elif named or not self._jump:
                async for piece in self._values():
                    yield piece
            else:
                piece = await self._next_of_name()
                named = '"' in piece
                yield self._take(piece)

    def _certain(self) -> str:
        """Text that is certain and ends where it may be cut; "" where it is too short to be worth a new prompt."""
        if not self._jump:
            return ""
        certain = self._walker.certain()
        after = self._walker.fork()
        after.feed(certain)
        if after.must_end:
            return certain
        cut = certain[: natural_cut(certain, after.may_be_string())]
        return cut if len(cut) >= _WORTH_CHARS else ""

    async def _next_of_name(self) -> str:
        names = Grammar(_first_literals(self._walker.rest()), {})
        piece = await self._runner.complete(self._prompt, grammar=lark(names), max_tokens=1, sampling=self._sampling)
        self.usage += self._runner.usage
        if not piece:
            raise ModelError("The model named no tool.")
        return piece

    async def _values(self) -> AsyncGenerator[str, None]:
        """Decode until the text is certain to its end, or up to the end of a value behind which much is certain."""
        stop = self._stop()
        left = self._max_tokens - self.usage.completion_tokens
        if left <= 0:
            raise Truncated(f"The model was stopped after {self._max_tokens} tokens.")
        grammar = lark(self._walker.rest())
        stream = self._runner.stream(self._prompt, grammar=grammar, max_tokens=left, stop=stop, sampling=self._sampling)
        try:
            async with aclosing(stream):
                async for piece in stream:
                    yield self._take(piece)
                    if self._ending():
                        break
        finally:
            self.usage += self._runner.usage
        if stop and not self._walker.must_end:
            yield self._take(stop[0])
        elif not self._ending():
            raise ModelError("The model stopped in the middle of its answer.")

    def _ending(self) -> bool:
        if self._walker.must_end:
            return True
        if not self._jump:
            return False
        after = self._walker.fork()
        after.feed(after.certain())
        return after.must_end

    def _stop(self) -> tuple[str, ...]:
        """A quote, where the string in work is followed by a certain text that does not end the answer."""
        if not self._jump:
            return ()
        after = self._walker.fork()
        after.feed('"')
        if after.dead:
            return ()
        certain = after.certain()
        after.feed(certain)
        return ('"',) if len(certain) >= _WORTH_CHARS and not after.must_end else ()

    def _take(self, piece: str) -> str:
        self._walker.feed(piece)
        if self._walker.dead:
            raise ModelError(f"The model did not keep to the grammar: {piece!r} does not fit.")
        self._prompt += piece
        return piece


def natural_cut(certain: str, string_follows: bool) -> int:
    """Where ``certain`` may end so that the next token is one the model would have written.

    Args:
        certain: Text that is certain.
        string_follows: The next character may be a quote or a bracket, which a token joins with the punctuation before.
    """
    cuts = [0, *(found.end() for found in _OPENING_QUOTE.finditer(certain))]
    bare = certain.rstrip(_PUNCTUATION)
    if certain.endswith(":") and not string_follows:
        cuts.append(len(certain))
    elif len(bare) < len(certain):
        cuts.append(len(bare))
    return max(cuts)


def _first_literals(grammar: Grammar) -> Alt:
    """The literal text with which each branch of ``grammar`` begins: enough to choose a name."""
    firsts: list[Lit] = []
    branches = grammar.start.options if isinstance(grammar.start, Alt) else (grammar.start,)
    for node in branches:
        while isinstance(node, Seq):
            node = node.parts[0]
        if not isinstance(node, Lit):
            raise ValueError(f"{node} is no literal.")
        firsts.append(node)
    return Alt(tuple(firsts))
