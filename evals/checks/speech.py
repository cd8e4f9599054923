"""Sound: whether what is heard is what was written, whether it sounds well, whether the agent goes on when it should.

What needs models was measured when the unit was run (`sayso.evals.speech.channel`) and stands in the trace; so units
can be checked again without any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import mean

from sayso.evals.checks.case import Case, CheckedTurn, checked
from sayso.evals.expectations import Limits, SpeechExpectation
from sayso.evals.records import Check
from sayso.evals.speech.fidelity import not_heard
from sayso.evals.speech.wording import character_error_rate, word_count, word_error_rate
from sayso.events import Heard


def check(case: Case) -> Iterator[Check]:
    """All checks of sound; none of a unit in text."""
    if case.mode != "speech":
        return
    for number, turn in enumerate(case.turns):
        if turn.expect.ignored and number:
            yield _ignored(case.turns[number - 1], turn)
    wanted = case.scenario.final.speech
    if wanted is not None:
        yield from _sound(case, wanted)


def _ignored(before: CheckedTurn, turn: CheckedTurn) -> Check:
    """A backchannel: the reply before goes on, and nobody answers."""
    cut = before.trace.interrupted_ms is not None
    answered = bool(turn.trace.reply) or sum(isinstance(event, Heard) for event in before.trace.events) > 1
    message = "The agent stopped talking." if cut else "The agent answered it."
    events = before.trace.last_event if cut else turn.trace.reply_events
    return checked("speech.ignored", turn, not (cut or answered), f"{turn.trace.user!r}: {message}", events=events)


def _sound(case: Case, wanted: SpeechExpectation) -> Iterator[Check]:
    heard = [turn for turn in case.turns if turn.trace.spoken]
    needs_ears = wanted.wer_reply_vs_text or wanted.cer_reply_vs_text or wanted.language or wanted.entities_heard
    if needs_ears and not heard:
        why = "Nobody listened to the replies: no recogniser is here, or none of them was heard to its end."
        yield Check(name="speech.heard", verdict="void", message=why)
        return
    yield from _error_rate("speech.wer", wanted.wer_reply_vs_text, word_error_rate, heard)
    yield from _error_rate("speech.cer", wanted.cer_reply_vs_text, character_error_rate, heard)
    if wanted.dnsmos is not None:
        yield _quality(case, wanted.dnsmos)
    for turn in heard:
        if wanted.language is not None:
            yield _language(turn, wanted.language)
        if wanted.entities_heard:
            yield _fidelity(case, turn)


def _error_rate(
    name: str, limits: Limits | None, rate: Callable[[str, str], float], heard: Sequence[CheckedTurn]
) -> Iterator[Check]:
    """Of all replies together, so that one word of a short reply is not a third of it."""
    if limits is None:
        return
    rates = [(min(rate(turn.trace.written, text) for text in turn.trace.spoken), turn) for turn in heard]
    words = [word_count(turn.trace.written) for turn in heard]
    wrong = sum(one * count for (one, _), count in zip(rates, words, strict=True))
    found = round(wrong / max(1, sum(words)), 4)
    worst = max(rates, key=lambda pair: pair[0])[1]
    message = f"{found:.1%} of what was said is not what was written; worst: {worst.trace.written!r} is heard as "
    message += repr(worst.trace.spoken[0]) + "."
    yield checked(
        name,
        None,
        _within(found, limits),
        message,
        events=worst.trace.reply_events,
        expected=limits.model_dump(exclude_none=True),
        found=found,
    )


def _quality(case: Case, limits: Limits) -> Check:
    values = [turn.trace.numbers["dnsmos"] for turn in case.turns if "dnsmos" in turn.trace.numbers]
    expected = limits.model_dump(exclude_none=True)
    if not values:
        message = "The sound was not judged: the package speechmos is not installed, or there was none."
        return Check(name="speech.dnsmos", verdict="void", message=message, expected=expected)
    found = round(mean(values), 3)
    message = f"The sound is worth {found:g} of 5 by DNSMOS."
    return checked("speech.dnsmos", None, _within(found, limits), message, expected=expected, found=found)


def _language(turn: CheckedTurn, wanted: str) -> Check:
    found = turn.trace.spoken_language
    if found is None:
        return Check(name="speech.language", turn=turn.index, verdict="void", message="No language was recognised.")
    same = found.split("-")[0] == wanted.split("-")[0]
    message = f"The reply is heard in {found}, not in {wanted}."
    return checked("speech.language", turn, same, message, events=turn.trace.reply_events, expected=wanted, found=found)


def _fidelity(case: Case, turn: CheckedTurn) -> Check:
    missing = not_heard(turn.trace.written, turn.trace.spoken, case.today)
    found = [f"{one.kind} {one.raw}" for one in missing]
    message = f"Not heard in the sound: {', '.join(found)}; it is heard as {turn.trace.spoken[0]!r}."
    return checked(
        "speech.entities", turn, not missing, message, events=turn.trace.reply_events, expected=[], found=found
    )


def _within(value: float, limits: Limits) -> bool:
    return (limits.min is None or value >= limits.min) and (limits.max is None or value <= limits.max)
