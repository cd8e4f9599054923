import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sayso.models.base import CallClose, CallDelta, CallOpen, Text
from sayso.models.call_parser import (
    CONSTRAINED,
    CONSTRAINED_PREFIX,
    LENIENT,
    QWEN,
    STEP_AUDIO,
    CallParser,
    Dialect,
    ParserEvent,
)
from sayso.models.json_stream import StringDecoder, parse_object

OPEN, CLOSE = "<tool_call>", "</tool_call>"
MARKED = (STEP_AUDIO, QWEN, LENIENT)
DIALECTS = (*MARKED, CONSTRAINED)


def parse(pieces: list[str], dialect: Dialect = LENIENT, prefix: str = "") -> list[ParserEvent]:
    parser = CallParser(dialect, prefix)
    return [event for piece in pieces for event in parser.feed(piece)] + parser.close()


def merged(events: list[ParserEvent]) -> list[ParserEvent]:
    """The events with neighbouring texts and deltas joined: what must not depend on the chunking."""
    out: list[ParserEvent] = []
    for event in events:
        match (out[-1] if out else None), event:
            case Text(before), Text(text):
                out[-1] = Text(before + text)
            case CallDelta(index, before), CallDelta(_, delta):
                out[-1] = CallDelta(index, before + delta)
            case _:
                out.append(event)
    return out


def text_of(events: list[ParserEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


def calls_of(events: list[ParserEvent]) -> list[tuple[str, object]]:
    names = {event.index: event.name for event in events if isinstance(event, CallOpen)}
    return [(names[event.index], event.arguments) for event in events if isinstance(event, CallClose)]


def check_well_formed(events: list[ParserEvent]) -> None:
    """Calls are numbered from 0, never nested, and their deltas make up their raw text."""
    opened = -1
    raw: str | None = None
    for event in events:
        match event:
            case CallOpen(index, _):
                assert raw is None and index == opened + 1
                opened, raw = index, ""
            case CallDelta(index, delta):
                assert raw is not None and index == opened and delta
                raw += delta
            case CallClose(index, arguments, whole):
                assert raw == whole and index == opened
                if arguments is not None:
                    assert arguments == parse_object(whole)
                raw = None
            case Text(text):
                assert raw is None and text
    assert raw is None


def cut(text: str, cuts: list[int]) -> list[str]:
    bounds = [0, *sorted(at % (len(text) + 1) for at in cuts), len(text)]
    return [text[a:b] for a, b in pairwise(bounds)]


# --- What the models write ---

STEP_FORMS = {
    "as documented": "<tool_call>function\n{name}\n{json}</tool_call>",
    "two spaces after function": "<tool_call>function  \n{name}\n{json}</tool_call>",
    "two spaces after the name": "<tool_call>function\n{name}  \n{json}</tool_call>",
    "a space before the name": "<tool_call>function\n {name}\n{json}</tool_call>",
    "spaces everywhere": "<tool_call> function  \n {name}  \n {json} \n</tool_call>",
    "windows line ends": "<tool_call>function\r\n{name}\r\n{json}\r\n</tool_call>",
    "a line break after the mark": "<tool_call>\nfunction\n{name}\n{json}\n</tool_call>",
    "no function line": "<tool_call>{name}\n{json}</tool_call>",
    "name on the function line": "<tool_call>function {name}\n{json}</tool_call>",
    "all on one line": "<tool_call>function {name} {json}</tool_call>",
    "arguments in a string": "<tool_call>function\n{name}\n{string}</tool_call>",
    "no closing mark": "<tool_call>function\n{name}\n{json}",
    "two closing marks": "<tool_call>function\n{name}\n{json}</tool_call></tool_call>",
    "two opening marks": "<tool_call>\n<tool_call>function\n{name}\n{json}</tool_call>",
    "text after the JSON": "<tool_call>function\n{name}\n{json}}} done</tool_call>",
}
QWEN_FORMS = {
    "as documented": '<tool_call>\n{"name": "{name}", "arguments": {json}}\n</tool_call>',
    "tight": '<tool_call>{"name":"{name}","arguments":{json}}</tool_call>',
    "arguments first": '<tool_call>{"arguments": {json}, "name": "{name}"}</tool_call>',
    "arguments in a string": '<tool_call>{"name": "{name}", "arguments": {string}}</tool_call>',
    "arguments in a string first": '<tool_call>{"arguments": {string}, "name": "{name}"}</tool_call>',
    "parameters": '<tool_call>{"name": "{name}", "parameters": {json}}</tool_call>',
    "more members": '<tool_call>{"type": "function", "id": [1, {"name": "x"}], "name": "{name}", "n": -1.5e3 , '
    '"arguments": {json}, "why": "</tool_call> {"}</tool_call>',
    "repeated members": '<tool_call>{"name": "{name}", "name": "x", "arguments": {json}, "arguments": {}}</tool_call>',
    "a comma too many": '<tool_call>{"name": "{name}", "arguments": {json},}</tool_call>',
    "no closing mark": '<tool_call>{"name": "{name}", "arguments": {json}}',
    "text after the JSON": '<tool_call>{"name": "{name}", "arguments": {json}}}}</tool_call>',
}


def fill(form: str, name: str, arguments: object) -> str:
    written = json.dumps(arguments, ensure_ascii=False)
    pieces = {"{name}": name, "{json}": written, "{string}": json.dumps(written)}
    for mark, value in pieces.items():
        form = form.replace(mark, value)
    return form


@pytest.mark.parametrize("dialect", [STEP_AUDIO, LENIENT], ids=["step-audio", "lenient"])
@pytest.mark.parametrize("form", STEP_FORMS.values(), ids=STEP_FORMS)
@pytest.mark.parametrize("arguments", [{"location": "成都"}, {}, {"a": {"b": ["</tool_call>", '"{']}}])
def test_step_audio_forms(form: str, arguments: object, dialect: Dialect) -> None:
    text = "我现在确认一下！" + fill(form, "get_weather", arguments)
    for pieces in ([text], list(text)):
        events = parse(pieces, dialect)
        check_well_formed(events)
        assert calls_of(events) == [("get_weather", arguments)]
        assert text_of(events) == "我现在确认一下！"


@pytest.mark.parametrize("dialect", [QWEN, LENIENT], ids=["qwen", "lenient"])
@pytest.mark.parametrize("form", QWEN_FORMS.values(), ids=QWEN_FORMS)
@pytest.mark.parametrize("arguments", [{"location": "成都"}, {}, {"a": {"b": ["</tool_call>", '"{']}}])
def test_qwen_forms(form: str, arguments: object, dialect: Dialect) -> None:
    text = "One moment. " + fill(form, "get_weather", arguments)
    for pieces in ([text], list(text)):
        events = parse(pieces, dialect)
        check_well_formed(events)
        assert calls_of(events) == [("get_weather", arguments)]
        assert text_of(events) == "One moment. "


def test_every_stored_stepeval_call_parses_in_every_form(shared_data: Path) -> None:
    path = shared_data / "stepeval_toolcall" / "cases.jsonl"
    cases = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    calls = [case["expected_call"] for case in cases if case["expected_call"]]
    assert calls
    for call in calls:
        for form in STEP_FORMS.values():
            text = fill(form, call["name"], call["arguments"])
            assert calls_of(parse(list(text))) == [(call["name"], call["arguments"])]


@pytest.mark.parametrize(
    ("text", "calls", "spoken"),
    [
        ("<tool_call>function\nnow\n</tool_call>", [("now", {})], ""),
        ("<tool_call>function\nnow</tool_call>", [("now", {})], ""),
        ("<tool_call>now</tool_call>", [("now", {})], ""),
        ("<tool_call>function\nfunction\n{}</tool_call>", [("function", {})], ""),
        ('<tool_call>function\n{"name": "a", "arguments": {}}</tool_call>', [("a", {})], ""),
        ('<tool_call>{"name": "a"}</tool_call>', [("a", {})], ""),
        ('<tool_call>{"n\\u0061me": "\\u0061"}</tool_call>', [("a", {})], ""),
        ('<tool_call>{"name": "a", "arguments": null}</tool_call>', [("a", None)], ""),
        ('<tool_call>{"name": "a", "arguments": [1]}</tool_call>', [("a", None)], ""),
        ('<tool_call>{"name": 5, "arguments": {}}</tool_call>', [("", {})], ""),
        ("<tool_call>{name: 'a'}</tool_call>b", [("", None)], "b"),
        ("<tool_call></tool_call>b", [("", {})], "b"),
        ("<tool_call>a\nlocation: Berlin</tool_call>b", [("a", None)], "b"),
        ('<tool_call>a\n{"x": 1, "x": 2}</tool_call>', [("a", {"x": 2})], ""),
        ('<tool_call>a\n{"x": 1</tool_call>b', [("a", None)], "b"),
        ('<tool_call>a\n{"x": NaN}</tool_call>b', [("a", None)], "b"),
        ('<tool_call>a\n{"x": "line\nbreak"}</tool_call>', [("a", {"x": "line\nbreak"})], ""),
        ('<tool_call>a\n{"x": "\\ud800"}</tool_call>', [("a", None)], ""),
        ("<tool_call>a\n{" + '"x":[' * 5 + "</tool_call>b", [("a", None)], "b"),
        ("<tool_call>a\n" + "[" * 100_000 + "]" * 100_000 + "</tool_call>b", [("a", None)], "b"),
        ("<tool_call>a\n{}\n<tool_call>b\n{}", [("a", {}), ("b", {})], ""),
        ("<tool_call>a\n<tool_call>b\n{}", [("a", None), ("b", {})], ""),
        ("<tool_call>a\n{}</tool_call> and <tool_call>b\n{}</tool_call>.", [("a", {}), ("b", {})], " and ."),
        ("<tool_call>a<b\n{}</tool_call>", [("a<b", {})], ""),
        ("<tool_call><<tool_call>a\n{}</tool_call>", [("<", None), ("a", {})], ""),
        ("a </tool_call> b", [], "a  b"),
        ("<tools> <tool_cal </tool_calls", [], "<tools> <tool_cal </tool_calls"),
        ("<<tool_call>a\n{}</tool_call>", [("a", {})], "<"),
        ("half a mark <tool_c", [], "half a mark <tool_c"),
        ("1 < 2<|EOT|>", [], "1 < 2<|EOT|>"),
        ("<tool_call>", [("", None)], ""),
        ("<tool_call>function\nget_wea", [("", None)], ""),
        ("<tool_call>now\n", [("now", None)], ""),
        ('<tool_call>a\n{"x": {"y": 1}', [("a", None)], ""),
        ('<tool_call>a\n{"x": "</tool_call>', [("a", None)], ""),
        ('<tool_call>{"name": "a", "arguments": {"x": 1}', [("a", {"x": 1})], ""),
        ('<tool_call>{"name": "a", "arguments": {"x": 1', [("a", None)], ""),
        ('<tool_call>{"arguments": {"x": 1}', [("", None)], ""),
    ],
)
def test_odd_output(text: str, calls: list[tuple[str, object]], spoken: str) -> None:
    for pieces in ([text], list(text)):
        events = parse(pieces)
        check_well_formed(events)
        assert calls_of(events) == calls
        assert text_of(events) == spoken


def test_a_told_dialect_reads_no_other() -> None:
    assert calls_of(parse(['<tool_call>{"name": "a", "arguments": {}}</tool_call>'], STEP_AUDIO)) == [
        ("", {"name": "a", "arguments": {}})
    ]
    assert calls_of(parse(['<tool_call>function\na\n{"x": 1}</tool_call>'], QWEN)) == [("", {})]


# --- When events come ---


def test_events_come_with_the_character_that_completes_them() -> None:
    parser = CallParser()
    stream: dict[str, list[ParserEvent]] = {
        "Wait": [Text("Wait")],
        " <": [Text(" ")],
        "tool_call>function\nget_weather": [],
        "\n": [CallOpen(0, "get_weather")],
        '{"city": ': [CallDelta(0, '{"city": ')],
        '"Oslo"': [CallDelta(0, '"Oslo"')],
        "}": [CallDelta(0, "}"), CallClose(0, {"city": "Oslo"}, '{"city": "Oslo"}')],
        "\n</tool_call": [],
        ">": [],
        "ok": [Text("ok")],
    }
    speaking = {"Wait", "ok", ">"}
    for piece, events in stream.items():
        assert parser.feed(piece) == events
        assert parser.in_call is (piece not in speaking and piece != " <")
    assert parser.close() == []


def test_an_envelope_opens_with_its_name_and_closes_with_its_arguments() -> None:
    parser = CallParser(QWEN)
    assert parser.feed('<tool_call>{"name": "a') == []
    assert parser.feed('"') == [CallOpen(0, "a")]
    assert parser.feed(', "arguments": {') == [CallDelta(0, "{")]
    assert parser.feed("}") == [CallDelta(0, "}"), CallClose(0, {}, "{}")]
    assert parser.feed('}</tool_call><tool_call>{"arguments": {"x":1}, "name": "b') == []
    assert parser.feed('"') == [CallOpen(1, "b"), CallDelta(1, '{"x":1}'), CallClose(1, {"x": 1}, '{"x":1}')]


# --- The constrained form ---


def test_constrained_call() -> None:
    parser = CallParser(CONSTRAINED, CONSTRAINED_PREFIX)
    assert parser.feed("get_weather") == []
    assert parser.in_call
    assert parser.feed('","arg') == [CallOpen(0, "get_weather")]
    assert parser.feed('uments":{"city":"<tool_call>') == [CallDelta(0, '{"city":"<tool_call>')]
    assert parser.feed('"}}') == [CallDelta(0, '"}'), CallClose(0, {"city": "<tool_call>"}, '{"city":"<tool_call>"}')]
    assert parser.feed(" junk") == parser.close() == []


def test_constrained_speech_is_streamed_as_it_is_decoded() -> None:
    parser = CallParser(CONSTRAINED, CONSTRAINED_PREFIX)
    assert parser.feed('none","arguments":{"say":"It is ') == [Text("It is ")]
    assert not parser.in_call
    assert parser.feed("\\") == []
    assert parser.feed("n\\u00e") == [Text("\n")]
    assert parser.feed("9\\ud83d") == [Text("é")]
    assert parser.feed("\\ude00 5°") == [Text("\N{GRINNING FACE} 5°")]
    assert parser.feed('."}}<|EOT|>') == [Text(".")]
    assert parser.close() == []


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ('{"tool":"none","arguments":{"say":"Hi."}}', "Hi."),
        ('{"arguments":{"say":"Hi."},"tool":"none"}', "Hi."),
        ('{"tool":"none","arguments":{"mood":{"say":"no"},"say":"Hi."}}', "Hi."),
        ('{"tool":"none","arguments":{"say":"Hi', "Hi"),
        ('{"tool":"none","arguments":{"say":"Hi\\', "Hi"),
        ('{"tool":"none","arguments":{"say":5}}', ""),
        ('{"tool":"none","arguments":"Hi."}', ""),
        ('{"tool":"none"}', ""),
        ('  {"tool":"none","arguments":{"say":"{\\"tool\\":\\"x\\"}"}}', '{"tool":"x"}'),
        ("", ""),
    ],
)
def test_constrained_speech(text: str, spoken: str) -> None:
    for pieces in ([text], list(text)):
        assert merged(parse(pieces, CONSTRAINED)) == ([Text(spoken)] if spoken else [])


def test_a_prefix_may_reach_into_the_arguments() -> None:
    events = parse(['"Oslo"}}'], CONSTRAINED, '{"tool":"a","arguments":{"city":')
    assert merged(events) == merged(parse(['{"tool":"a","arguments":{"city":"Oslo"}}'], CONSTRAINED))


def test_constrained_output_that_is_cut_off_or_no_json() -> None:
    assert calls_of(parse(['{"tool":"a","arguments":{"x":'], CONSTRAINED)) == [("a", None)]
    assert calls_of(parse(['{"to'], CONSTRAINED)) == [("", None)]
    assert calls_of(parse(["{tool: a}"], CONSTRAINED)) == [("", None)]
    assert calls_of(parse(['{"tool":"a","arguments":<'], CONSTRAINED)) == [("a", None)]


# --- Properties ---

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from([OPEN, CLOSE, "{", '"}', "\\", '\\"}', "函数", "\N{GRINNING FACE}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
arguments = st.dictionaries(st.text(max_size=6) | st.sampled_from(["name", CLOSE]), json_values, max_size=4)
names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,12}", fullmatch=True).filter(lambda name: name != "function")
words = st.text(max_size=12).map(lambda text: text.replace("<", "")) | st.sampled_from(
    ["Hi. ", "<tools", "<tool_cal", "</tool", "你好", "<|EOT|>", "< ", "\n"]
)
cuts = st.lists(st.integers(min_value=0, max_value=10_000), max_size=30)
indents = st.sampled_from([None, 0, 2])
fragments = st.lists(
    st.sampled_from(
        [
            OPEN,
            CLOSE,
            "<tool",
            "<",
            "function",
            "\n",
            " ",
            "name",
            "{",
            "}",
            "[",
            "]",
            '"',
            "\\",
            "\\u",
            "d83d",
            ":",
            ",",
            '"name":',
            '"tool":',
            '"arguments":',
            '"say":',
            '"none"',
            '"a"',
            "{}",
            "1",
            "null",
            "é",
            "\N{GRINNING FACE}",
        ]
    )
    | st.text(max_size=3),
    max_size=25,
).map("".join)


@given(text=fragments, cuts=cuts, dialect=st.sampled_from(DIALECTS))
@example(text='<tool_call>{"name":"a","arguments":{}}</tool', cuts=[], dialect=LENIENT)
@example(text="<tool_call>a\n{<tool_call>", cuts=[], dialect=STEP_AUDIO)
def test_any_output_gives_the_same_events_at_any_chunking(text: str, cuts: list[int], dialect: Dialect) -> None:
    whole = parse([text], dialect)
    check_well_formed(whole)
    for pieces in (cut(text, cuts), list(text)):
        events = parse(pieces, dialect)
        check_well_formed(events)
        assert merged(events) == merged(whole)


@given(text=fragments, dialect=st.sampled_from(MARKED))
def test_text_outside_marks_is_all_spoken_and_text_inside_never(text: str, dialect: Dialect) -> None:
    """Against a model of the rule for text without quotes (so that marks cannot hide in strings)."""
    text = text.replace('"', "")
    spoken = ""
    for n, part in enumerate(text.split(OPEN)):
        outside = part if n == 0 else part.partition(CLOSE)[2]
        spoken += outside.replace(CLOSE, "")
    assert text_of(parse([text], dialect)) == spoken


@given(
    parts=st.lists(st.tuples(words, names, arguments, st.integers(0, 100), indents, st.booleans()), max_size=3),
    end=words,
    cuts=cuts,
)
def test_calls_between_words_are_found_and_words_are_untouched(parts: list, end: str, cuts: list[int]) -> None:
    forms = [*STEP_FORMS.values(), *QWEN_FORMS.values()]
    forms = [form for form in forms if form.endswith(CLOSE) and "{string}" not in form and form.count(OPEN) == 1]
    text, spoken, calls = "", "", []
    for before, name, args, form, indent, ascii_only in parts:
        written = json.dumps(args, ensure_ascii=ascii_only, indent=indent)
        text += before + forms[form % len(forms)].replace("{name}", name).replace("{json}", written)
        spoken += before
        calls.append((name, args))
    events = parse(cut(text + end, cuts))
    check_well_formed(events)
    assert text_of(events) == spoken + end
    assert [name for name, _ in calls_of(events)] == [name for name, _ in calls]
    assert [found for _, found in calls_of(events)] == [json.loads(json.dumps(args)) for _, args in calls]


@given(
    name=names, args=arguments, form=st.sampled_from([*STEP_FORMS.values(), *QWEN_FORMS.values()]), at=st.integers(0)
)
def test_a_truncated_call_says_nothing_and_never_gives_half_its_arguments(
    name: str, args: dict, form: str, at: int
) -> None:
    text = fill(form, name, args)
    text = text[: text.rindex("}") + 1]  # behind it a second closing mark may begin, and half a mark is text
    events = parse([text[: len(OPEN) + at % len(text)]])
    check_well_formed(events)
    assert text_of(events) == ""
    assert all(found in (None, args) or not found for _, found in calls_of(events))


@given(
    say=st.text(),
    ascii_only=st.booleans(),
    cuts=cuts,
    prefix=st.integers(0, len('{"tool":"none","arguments":{"say":"')),
)
def test_constrained_speech_is_exact(say: str, ascii_only: bool, cuts: list[int], prefix: int) -> None:
    text = json.dumps({"tool": "none", "arguments": {"say": say}}, ensure_ascii=ascii_only, separators=(",", ":"))
    events = parse(cut(text[prefix:], cuts), CONSTRAINED, text[:prefix])
    assert text_of(events) == say and len(merged(events)) == bool(say)


@given(text=st.text(), cuts=cuts)
def test_bytes_may_be_cut_inside_a_character(text: str, cuts: list[int]) -> None:
    data = text.encode()
    parser = CallParser()
    bounds = [0, *sorted(at % (len(data) + 1) for at in cuts), len(data)]
    events = [event for a, b in pairwise(bounds) for event in parser.feed_bytes(data[a:b])] + parser.close()
    assert merged(events) == merged(parse([text]))


def test_bytes_that_are_no_utf8_become_replacement_characters() -> None:
    parser = CallParser()
    assert text_of(parser.feed_bytes(b"a\xff") + parser.feed_bytes(b"b\xe4\xbd") + parser.close()) == "a�b�"


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (r'"\ud83d\ude00"', "\N{GRINNING FACE}"),
        (r'"\ud83d"', "�"),
        (r'"\ude00a"', "�a"),
        (r'"\ud83d\ud83d\ude00"', "�\N{GRINNING FACE}"),
        (r'"\ud83d\n"', "�\n"),
        (r'"\u12"', "�"),
        (r'"\q\/\\\""', 'q/\\"'),
        ('5"a"', ""),
    ],
)
def test_string_decoder(written: str, text: str) -> None:
    for pieces in ([written], list(written)):
        decoder = StringDecoder()
        assert "".join(map(decoder.decode, pieces)) == text
        assert decoder.done


def test_what_is_held_back_does_not_grow() -> None:
    """Linear time rests on this: a piece costs its own length and a constant."""
    for text in (OPEN + "a\n" + "{" * 5000, OPEN + "x" * 5000, OPEN + '{"a":"' + "\\" * 5000, "<" * 5000):
        parser = CallParser()
        for char in text:
            parser.feed(char)
            assert len(parser._held) < len(CLOSE)
