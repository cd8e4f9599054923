"""Whether a reply announces an action, such as "Let me check that for you".

A model that says so and calls no tool has left the person waiting, and its turn is continued with a call. So precision
comes first: a reply that only looks like an announcement must not force one. What counts is how the reply ends: an
announcement that is followed by the answer, or by a question, is none any more.
"""

from __future__ import annotations

import functools
import re
import unicodedata

_QUOTED = re.compile(r"\"[^\"]*\"|“[^”]*”|「[^」]*」|《[^》]*》")
_LEAD = re.compile(r"^.*[:：](?=\s|[\u4e00-\u9fff])\s*")
_SENTENCE = re.compile(r"[^.!?。!?…\n]+(?:[.!?。!?…\n]+|$)")
_CLAUSE = re.compile(r"\s*[,;,;—–]\s*|\s+-\s+|\s+(?:but|so|and then|and)\s+(?=i'|i |let|allow)")


def _any(table: str) -> str:
    """One of the patterns of a table."""
    return f"(?:{table.strip().replace(chr(10), '|')})"


_VERB = _any(r"""
check|double-check|find (?!the right|it |this |that |myself)|search|google|fetch|grab|retrieve|query|browse
scan|consult|contact
look (?:that|this|it|them|those|things?|some\w*|the|up|into|for|at|through|around)\b
take (?:a (?:quick )?look|care)
get (?!back|going|to\b|(?:this|that|it) straight)|pull|read (?!too)|verify|calculate|compute|convert|figure
work (?:that|it|this) out|see (?:if|whether|what|how|when|where|which)|set (?!\w+ aside|aside)
start (?!by|with|off)
stop (?!here|there)|turn (?:o(?:n|ff)|up|down|the|it|that|your)|switch|play (?!along|no\b|a role|devil)|pause
dim|raise|lower
adjust|put (?:that|it|this|the) (?:on|in)|send (?!you (?:my|our|good|all))|e-?mail|text|message (?!received)
remind you
book|reserve|order (?!the \w+ (?:by|alphabet))|schedule|reschedule|cancel|add (?!that (?!to\b))|remove|delete
create|save|log
make (?:a|an|the|that) (?:note|reminder|reservation|call|list|booking|change)
(?:write|note) (?:that|it|this) down
call (?!you\b|it\b|this\b|that\b)|open (?!with|by)|close (?!with|by)|lock|unlock|update
change (?!the subject|my)|run|handle
try (?:that|it|this|again|another|search\w*|look\w*)|do (?:that|it|this|a)\b|process|download|translate
ask (?!you)
""")
_ADVERB = r"(?:(?:just|quickly|now|also|first|go ahead and|quick|try to|try and|start by|do a|right away|go and|go) )*"
_OBJECT = (
    r" (?:the|that|it|your|an? (?:timer|alarm|reminder|note|list|event|table|message|taxi|cab|e-?mail|ticket|room))\b"
)
_DOING = _any(
    r"""
checking|looking (?:that|this|it|them|into|up|for|through)\b|searching|finding (?!(?:this|it|that) \w)|fetching
getting|pulling|retrieving|verifying|calculating
(?:setting(?: up)?|starting|(?:turning|switching)(?: on| off| up| down| to)?|playing|sending|booking|adding|creating)%O
(?:scheduling|cancell?ing|ordering|calling(?! it a day)|opening|closing|locking|unlocking|updating)%O
(?:working on|processing)%O
""".replace("%O", _OBJECT)
)
_OPENING = _any(r"""
sure(?: thing)?|ok(?:ay)?|alright|all right|of course|certainly|absolutely|got it|great(?: question)?
good question|well|h+m+
right|yes|no problem|but|so|and|sorry|thanks|thank you|then|first|now|please|actually|one moment
just a (?:moment|second)
hold on|hang on|bear with me|while
""")
_OPENING = rf"(?:{_OPENING} )*"
_MOMENT = "(?:moment|second|minute|sec)"
_WAIT = (
    rf"(?:(?:just a|(?:just )?one) {_MOMENT}|hold on|hang on|bear with me|give me (?:just )?(?:a|one) {_MOMENT})"
    rf"(?: (?:a|one) {_MOMENT})?(?: please)?(?:$| (?:while|as) i (?:{_VERB}|am {_DOING})| to {_ADVERB}{_VERB})"
)
_STATES = _any("is|are|was|will|can|may|takes?|costs?|opens?|helps?|means?|requires?|makes?|needs?|should")
"""After a gerund: "setting a timer takes a second" announces nothing."""
_ANNOUNCEMENTS = (
    rf"(?:let me|allow me to|let us|lets|let's|i'll|i will|i shall) {_ADVERB}{_VERB}",
    rf"(?:i'm|i am) (?:now )?(?:going to|gonna|about to) {_ADVERB}{_VERB}",
    rf"(?:i'm|i am) (?:(?:now|just|currently) )?{_DOING}(?! with you| a total)",
    rf"(?!checking (?!the|that|this|now|for|if|whether|your|it|on)){_DOING}(?!.*\b{_STATES}\b)",
    _WAIT,
)
_PATIENCE = re.compile(
    r"(?:this|it|that) (?:will|should|may|might|won't|'ll) (?:only |just )?(?:take|be)"
    r"|(?:one|just a) (?:moment|second)|please wait|thank"
)
_REPORTED = re.compile(
    r"\b(?:said|(?<!it )says|told|tells|asked|replied)\b|\b(?:you|he|she|they|we) (?:can|could) say\b"
)
_ANSWER = re.compile(
    r"(?:and |but |so )?(?:it's|it is|its|there|that's|that is|the answer|yes|no\b|here|this is|you have|\d)"
)
_CONDITION = re.compile(
    r"^(?:if|once|when|whenever|unless|as soon as|after|before|until|in case|should)\b"
    r"|(?<!check )(?<!see )(?<!out )(?<!know )(?<!verify )(?<!sure )"
    r"\b(?:if|once|whenever|unless|as soon as|until|provided) "
    r"(?:you|it|they|that|this|he|she|the|someone|there|so|needed|necessary)\b"
    r"|\bwhen (?:you|they|he|she)(?:'re| are| tell| say| give| want| like)"
)

_ZH_VERB = _any(
    "查|看看|看一下|看下|看一看|找|搜|算|设|定个|订|放|播|发|打开|打电话|关|开|加|取消|问|确认|翻|记|办|处理|试|联系|预|调|安排|提醒|读"
)
_ZH_ANNOUNCES = (
    re.compile(
        r"(?:让我|我(?:现在|马上|这就|立刻|先|正在|再)*(?:来|去|就|帮[你您]|给[你您小]|为[你您]|会帮[你您])+"
        r"(?:现在|马上|先|来|去|就|帮[你您]|为[你您])*)"
        rf"(?:快速)?(?:\w{{1,3}})??{_ZH_VERB}"
    ),
    re.compile(rf"我(?:现在|马上|这就|立刻|先|正在){{1,2}}\w{{0,4}}?{_ZH_VERB}"),
    re.compile(rf"^正在(?:为[你您]|帮[你您])?{_ZH_VERB}"),
    re.compile(r"^(?:请)?(?:您)?(?:稍等|稍候|等一下|等等)(?:一下|片刻|一会儿?)?$"),
    re.compile(rf"^我{_ZH_VERB}(?:一下|看)?$"),
)
_ZH_WAIT = re.compile(r"^(?:好的?|没问题|行|可以|当然|请?稍等.{0,2}|等一下|嗯)$")
_ZH_NOT = re.compile(
    r"如果|要是|的话|[吗呢?]|可以帮|能帮|不能|没办法|无法|乐意|愿意|已经|刚才|过了|[查找搜算设订发]到?[了好]|到了|了一下|解释|介绍"
    r"|说明|他说|她说|你可以|请告诉"
)
_HAN = re.compile(r"[\u4e00-\u9fff]")


def announces_action(reply: str, language: str | None = None) -> bool:
    """Whether ``reply`` ends by announcing that something is about to be done.

    True: "Let me check that for you.", "One moment while I set the timer.", "我来查一下". False: answers, questions and
    offers ("Shall I look it up?"), reports ("I have set the timer"), conditions, refusals, turns of phrase ("let me
    know", "I'll be here", "let me explain").

    Args:
        reply: All that the agent said in the turn.
        language: As ``en`` or ``zh-CN``, or None; a sentence with Chinese characters is read as Chinese.
    """
    sentences = [found.strip() for found in _SENTENCE.findall(_plain(reply))]
    while sentences and _PATIENCE.match(sentences[-1]) and len(sentences) > 1 and not sentences[-1].endswith("?"):
        if _announces(sentences[-1]):
            return True
        sentences.pop()
    return bool(sentences) and _announces(sentences[-1])


@functools.cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    """Compiled when they are needed, for that takes longer than all of the import."""
    return tuple(re.compile(_OPENING + pattern) for pattern in _ANNOUNCEMENTS)


def _plain(text: str) -> str:
    from sayso.tools.utterance import simplified

    return _QUOTED.sub(" x ", simplified(unicodedata.normalize("NFKC", text).replace("’", "'").casefold()))


def _announces(sentence: str) -> bool:
    if sentence.endswith("?"):
        return False
    sentence = _LEAD.sub("", sentence.rstrip(".!。…\n "))
    if _HAN.search(sentence):
        return _announces_in_chinese(sentence)
    if _CONDITION.search(sentence) or _REPORTED.search(sentence):
        return False
    announced = False
    for clause in filter(None, _CLAUSE.split(sentence)):
        announced = (announced and not _ANSWER.match(clause)) or any(pattern.match(clause) for pattern in _patterns())
    return announced


def _announces_in_chinese(sentence: str) -> bool:
    if _ZH_NOT.search(sentence):
        return False
    clauses = [clause for clause in _CLAUSE.split(sentence) if clause and not _ZH_WAIT.match(clause)]
    if not clauses:
        return "等" in sentence or "稍候" in sentence
    return any(pattern.match(clauses[-1]) for pattern in _ZH_ANNOUNCES)
