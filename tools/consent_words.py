"""The phrases that `sayso.tools.consent` knows, by what they do to an answer. English, then Chinese (simplified).

A phrase here is a decision: what is in no table is not understood, and what is not understood confirms nothing.
"""

from __future__ import annotations

YES = """
yes|yea|yeah|yep|yup|yes yes|sure|sure thing|okay|ok|okey|o k|alright|all right|absolutely|definitely
certainly|of course
correct|exactly|indeed|affirmative|confirm|confirmed|i confirm|i confirm it|i confirm that|confirm it|approved
agreed|i agree
go ahead|go ahead and|go right ahead|go for it|do it|do that|do so|please do|proceed|by all means|make it so
thats right|that is right|thats correct|that is correct|thats fine|that is fine|fine by me|thats good
thats okay
sounds good|that sounds good|that works for me|sounds right|sounds great|sounds fine|looks good|looks right
that works|works for me|perfect
you may|you can|you can do it|you can do that|it is|i do|i am sure|im sure|i would|id like that|i want that
是|是的|是呀|是啊|对|对的|对呀|对啊|好|好的|好啊|好呀|好哒|行|行的|行啊|可以|可以的|可以啊|没问题|没有问题
没错|没错的|确认|我确认|确定|我确定
同意|我同意|当然|当然可以|当然了|就这样|就这么办|就这样办|没错就是|正确|照办|请继续|继续吧|开始吧|去办吧|请吧
必须的
"""

FILLER = """
right|uh|um|uhm|er|erm|ah|eh|oh|mm|mhm|please|thanks|thank you|thank you very much|many thanks|then please|fine
great|good|wonderful|lovely
嗯|恩|呃|额|啊|哦|噢|呀|啦|谢谢|谢谢你|谢谢您|多谢|麻烦你|麻烦您|麻烦你了|麻烦您了|拜托|拜托了|请|那|那就|就
"""

IT = """
it|that|this|them
它|这个
"""

NO = """
no|nope|nah|no no|no way|no thanks|no thank you|uh no|not now|not yet|not that|not really|absolutely not
definitely not
certainly not|of course not|please not|dont|do not|dont do it|dont do that|do not do it|do not do that
dont bother
i dont want that|i dont want it|i dont want to|i do not want that|i do not want it|i refuse|refuse|refused
rejected|denied
uh uh|nuh uh|mm mm|not|never|nevermind|never mind
不|不要|不要了|不是|不是的|不用|不用了|不对|不行|不可以|不好|不同意|不了|不必|不必了|不需要|不需要了|不确认
不想|算了|算了吧|别|别了|拒绝|免了|先不要|千万别
"""

NO_ACTION = """
cancel|stop|abort|forget|forget it|forget about it|quit|drop it|leave it
取消|停|停下|停下来|停止|取消吧
"""
"""Refusals too, unless the question is about them: "Shall I cancel order 15?" is not refused by "yes, cancel it"."""

HALT = """
yeah right|but|wait|actually|instead|except|only|just|unless|if|or|maybe|perhaps|probably|possibly|guess
i guess|i think|think|suppose|although
hold on|hang on|moment|second thought|on second thought|change|changed|correction|scratch that|rather|mean
meant|i mean
shall|should|could|would you|can you|do you|did you|did|does|what|who|whom|why|how|which|where|when|whether
say|says|said|tell|told|ask|asked|other|another|more|less|half|double|twice|also|plus|minus|later|first|next
sure you|are you sure|not sure|im not sure|i am not sure|dont know|i dont know|dont say|?
但|但是|不过|可是|等等|等一下|等一等|等下|慢着|且慢|如果|要是|除非|或者|还是|可能|也许|大概|应该|应该是|应该吧
好像|好像是|估计|恐怕
吗|呢|吧|是吧|对吧|好吧|行吧|可以吧|是吗|对吗|好吗|行吗|可以吗|对不对|是不是|好不好|行不行|可不可以|改|改成|换
换成|再|先|晚点|待会|一会|改天|明天
什么|怎么|为什么|多少|哪|谁|说|不确定|不知道|不一定|我不确定|我不知道|不清楚|不好说|没|没有|不好意思|不错
不客气
"""
"""Corrections, conditions, doubts, delays, questions and reports: an answer with one of these confirms nothing, even
where the question has the same words."""

DANGLING = frozenset(
    "to from for at on in of by with and the a an my your his her their its as than 给 从 到 和 在".split()
)
"""An answer that ends in one of these is not over."""

RESTRICTING = frozenset("but except only not without unless never 除 只 不 别".split())
"""In a question, these change what a part of it means: "delete all but this one"."""


def phrases(table: str) -> list[str]:
    """The phrases of a table of this module."""
    return table.strip().replace("\n", "|").split("|")
