"""Whether what a person says, as a whole, asks to stop what is being done for them."""

from __future__ import annotations

import functools

from sayso.tools.consent_words import phrases
from sayso.tools.utterance import Lexicon, words

_STOP = """
stop|stop it|stop that|stop this|stop now|stop doing that|stop doing it|stop what youre doing|stop everything
stop searching|stop looking|stop checking|stop working on it|you can stop|you can stop now|you may stop|cancel|cancel it
cancel that|cancel this|cancel everything|abort|abort it|abort that|never mind|nevermind|never mind that|forget it
forget that|forget about it|forget about that|dont do that|dont do it|do not do that|do not do it|dont bother|leave it
leave it be|drop it|scrap it|scrap that|call it off|quit it|no need|thats enough|that is enough
停|停下|停下来|停止|停一下|停停|停手|住手|打住|取消|取消吧|取消它|算了|算了吧|够了|不用了|不要了|不必了|不用麻烦|不用麻烦了|免了
别弄|别弄了|别做了|别查了|别找了|别搜了|别管了|不用查了|不用找了|不用弄了|不查了|不弄了|不做了|不找了
"""

_FILLER = """
please|okay|ok|oh|uh|um|er|ah|hey|hm|hmm|well|actually|just|no|nope|now|right now|wait|hold on|thanks|thank you|sorry
its fine|its okay|thats fine|thats okay|alright|all right|for now
请|啊|吧|哦|噢|嗯|呃|哎|喂|不|好|好了|好的|谢谢|现在|等等|等一下|那|就|快|没事|没关系
"""


def asks_to_stop(text: str, language: str | None = None) -> bool:
    """Whether ``text`` is a request to stop what is being done, and nothing else.

    "Stop that", "never mind", "别弄了". What names its object ("stop the timer called tea", "cancel my order") is a
    task for a tool, and a sentence that goes on ("forget it and tell me a joke") is one for the model.

    Args:
        text: What the person said.
        language: As ``en`` or ``zh-CN``, or None; both languages are understood in any case.
    """
    kinds = [unit.kind for unit in _lexicon().units(words(text))]
    return "stop" in kinds and None not in kinds


@functools.cache
def _lexicon() -> Lexicon:
    return Lexicon({"filler": phrases(_FILLER), "stop": phrases(_STOP)})
