"""`Tool`, and `@tool`, which makes one from a function."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from typing import Any, Generic, Literal, TypeAlias, cast, get_args, overload

from typing_extensions import ParamSpec, TypeVar

from sayso.errors import ToolDefinitionError
from sayso.items import JsonObject, ToolExample, ToolSpec
from sayso.tools.context import Context
from sayso.tools.limits import Limit
from sayso.tools.policy import OUTPUT_TOKENS, PLAIN, Asks, OnDuplicate, Policy, Question
from sayso.tools.say import Speak, compile_question, compile_say
from sayso.tools.schema import FunctionSchema, InvalidArguments, Validate, read_function, where

P = ParamSpec("P", default=...)
R = TypeVar("R", default=Any)

Handler: TypeAlias = Callable[[dict[str, Any], Context], Any]
"""What runs a call: validated arguments and the call's context in; what comes out depends on the tool's `Mode`."""

EffectName: TypeAlias = Literal["pure", "read", "write", "irreversible"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


class Effect(StrEnum):
    """What a call does to the world, which decides when it may run.

    ``PURE``: nothing, and the result depends on the arguments alone. ``READ``: nothing. Both run in parallel and may
    be thrown away. ``WRITE``: changes something; runs one at a time, in order, and is never cut short by an
    interruption. ``IRREVERSIBLE``: a write that cannot be taken back.
    """

    PURE = "pure"
    READ = "read"
    WRITE = "write"
    IRREVERSIBLE = "irreversible"

    @property
    def changes_something(self) -> bool:
        """Whether a call must not be repeated, reordered or thrown away."""
        return self is Effect.WRITE or self is Effect.IRREVERSIBLE


class Mode(Enum):
    """How a handler is run: on the loop at once, in a thread, awaited, or iterated."""

    INLINE = "inline"
    THREAD = "thread"
    ASYNC = "async"
    STREAM = "stream"


@dataclass(frozen=True, slots=True, eq=False)
class Tool(Generic[P, R]):
    """A function that a model may call. Immutable: a variant of one is made with `dataclasses.replace`.

    Middleware wraps: ``replace(tool, mode=Mode.ASYNC, handler=...)`` with a handler that awaits
    `sayso.tools.invoke.run` of the tool inside. Nothing in the executor knows whether there is a Python function
    behind a handler.

    Attributes:
        function: The plain function; calling the tool calls it.
        spec: The tool as a model sees it.
        effect: What a call does to the world.
        mode: How ``handler`` is run.
        validate: From arguments as a model wrote them to arguments for ``handler``; raises `InvalidArguments`.
        handler: Runs a call.
        wants_context: ``handler`` looks at its context.
        timeout_s: Seconds a call may run, and seconds it may wait for its ``limit``; None is without end.
        limit: How many calls run at once, or None.
        speak: What to say of a result without asking the model, or None.
        policy: How calls are scheduled, guarded and answered.
        asks: Which calls need approval, where ``policy.approval`` is set; None: all.
        question: What a person is asked before a call that needs approval; None: made from name and arguments.
        receiver: ``self`` or ``cls`` where this is a method that is not bound yet.
        where: ``file:line`` of the definition.
    """

    function: Callable[P, R]
    spec: ToolSpec
    effect: Effect
    mode: Mode
    validate: Validate
    handler: Handler
    wants_context: bool = True
    timeout_s: float | None = 30.0
    limit: Limit | None = None
    speak: Speak | None = None
    policy: Policy = PLAIN
    asks: Asks | None = None
    question: Question | None = None
    receiver: str | None = None
    where: str = ""
    _schema: FunctionSchema | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The name that a model calls."""
        return self.spec.name

    @property
    def __name__(self) -> str:
        """As of a function."""
        return self.function.__name__

    @property
    def __wrapped__(self) -> Callable[P, R]:
        """The plain function; `inspect.signature` looks here."""
        return self.function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the plain function: no validation, no time-out."""
        return self.function(*args, **kwargs)

    def __get__(self, instance: Any, owner: type | None = None) -> Tool[..., R]:
        """The tool of a method, bound to its object (or class)."""
        bind_to = owner if self.receiver == "cls" else instance
        if self.receiver is None or bind_to is None or self._schema is None:
            return self
        bound: Callable[..., R] = cast("Any", self.function).__get__(bind_to, owner)
        return cast("Tool[..., R]", replace(self, function=bound, handler=_handler(bound, self._schema), receiver=None))


def _handler(function: Callable[..., Any], schema: FunctionSchema) -> Handler:
    context, positional = schema.context, schema.positional
    if positional:

        def by_position(arguments: dict[str, Any], ctx: Context) -> Any:
            named = dict(arguments) if context is None else {**arguments, context: ctx}
            first = [named.pop(name) for name in positional]
            return function(*first, **named)

        return by_position
    if context is None:
        return lambda arguments, ctx: function(**arguments)
    return lambda arguments, ctx: function(**arguments, **{context: ctx})


@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...


@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    effect: Effect | EffectName = Effect.WRITE,
    timeout_s: float | None = 30.0,
    max_concurrency: int | None = None,
    thread: bool = True,
    say: str | Callable[[Any], str | None] | None = None,
    filler: str | Sequence[str] | None = None,
    examples: Mapping[str, JsonObject] | None = None,
    resource: str | None = None,
    on_duplicate: OnDuplicate = "allow",
    approval: bool | Asks | None = None,
    confirm: str | Question | None = None,
    retries: int = 0,
    background: bool = False,
    reply: bool = True,
    untrusted: bool = False,
    max_output_tokens: int = OUTPUT_TOKENS,
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...


def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    effect: Effect | EffectName = Effect.WRITE,
    timeout_s: float | None = 30.0,
    max_concurrency: int | None = None,
    thread: bool = True,
    say: str | Callable[[Any], str | None] | None = None,
    filler: str | Sequence[str] | None = None,
    examples: Mapping[str, JsonObject] | None = None,
    resource: str | None = None,
    on_duplicate: OnDuplicate = "allow",
    approval: bool | Asks | None = None,
    confirm: str | Question | None = None,
    retries: int = 0,
    background: bool = False,
    reply: bool = True,
    untrusted: bool = False,
    max_output_tokens: int = OUTPUT_TOKENS,
) -> Any:
    """Make a function a tool, as ``@tool`` or ``@tool(...)``.

    The schema comes from the type hints and the docstring (Google, NumPy or Sphinx style). The function may be sync,
    async, an async generator (each value it yields is reported as progress, the last is the result too), or a method:
    ``obj.method`` is then a tool bound to ``obj``. Put ``@tool`` above ``@staticmethod`` and ``@classmethod``. A
    parameter of type `Context` is filled in and hidden. The decorated function can still be called as before.

    Args:
        function: The function, where the decorator is used without brackets.
        name: What the model calls; the function's name if None.
        description: What the tool does and when to use it; the docstring up to its first section if None.
        effect: See `Effect`. Left out it is ``write``: what nobody declared harmless is never repeated, run early or
            cut short.
        timeout_s: Seconds after which a call is cancelled. A sync function in a thread cannot be stopped from
            outside: its call is reported as timed out, ``ctx.cancelled`` tells it to stop, and what it brings later
            is kept and told (see `Executor.late`).
        max_concurrency: Most calls at once, in all sessions of this process.
        thread: Run a sync function in a thread. False runs it on the event loop, which it must not block (under a
            millisecond), and without a time-out.
        say: What to say of a result without asking the model again: a template over the result's fields
            (``"It is {time} in {place}."``, or ``{result}`` for a plain value) or a function of the result that
            returns words or None.
        filler: A short line that may be spoken while the call runs, or several that take turns.
        examples: Spoken requests, each with the arguments it should give.
        resource: See `Policy`, as for all that follow but ``confirm``.
        on_duplicate: What becomes of a write that was made before.
        approval: A person has to agree first; None: where the effect is irreversible. A function of the validated
            arguments decides call by call.
        confirm: What the person is asked: a template over the arguments (``"Shall I send {amount} euros to {to}?"``)
            or a function of the validated arguments.
        retries: Attempts after a failed one; pure and read only.
        background: The result comes in a later turn.
        reply: False: a call that worked is not answered.
        untrusted: Results are data from outside.
        max_output_tokens: Of a result that the model is shown.

    Raises:
        ToolDefinitionError: The function cannot be a tool; the message says which part of it and where.
    """
    local_names = sys._getframe(1).f_locals  # pyright: ignore[reportPrivateUsage] (for types local to a function)

    def decorate(function: Callable[..., Any]) -> Tool:
        plain = _plain(function)
        schema = read_function(plain, local_names)
        place = f"{where(plain)}: tool '{plain.__name__}'"
        title = plain.__name__ if name is None else name
        check_name(title, place)
        _check(place, timeout_s, max_concurrency)
        mode, kind = _mode(plain, thread, place), _effect(effect, place)
        asked = kind is Effect.IRREVERSIBLE if approval is None else bool(approval)
        if approval is not None and not isinstance(approval, bool) and not callable(approval):
            raise ToolDefinitionError(f"{place} has approval={approval!r}.", "Give True, False or a function.")
        if confirm is not None and not asked and not kind.changes_something:
            raise ToolDefinitionError(f"{place} has a question (confirm) that nobody asks.", "Add approval=True.")
        policy = Policy(resource, on_duplicate, asked, retries, background, reply, untrusted, max_output_tokens)
        policy = PLAIN if policy == PLAIN else policy
        policy.check(place, changes_something=kind.changes_something)
        return Tool(
            function=plain,
            spec=ToolSpec(
                name=title,
                description=(description or schema.description).strip(),
                parameters=schema.parameters,
                examples=_examples(examples or {}, schema.validate, place),
                fillers=(filler,) if isinstance(filler, str) else tuple(filler or ()),
            ),
            effect=kind,
            mode=mode,
            validate=schema.validate,
            handler=_handler(plain, schema),
            wants_context=schema.context is not None,
            timeout_s=timeout_s,
            limit=None if max_concurrency is None else Limit(max_concurrency),
            speak=None if say is None else compile_say(say, _result_type(schema.returns, mode), place),
            policy=policy,
            asks=approval if callable(approval) else None,
            question=None if confirm is None else compile_question(confirm, schema.parameters, place),
            receiver=schema.receiver,
            where=where(plain),
            _schema=schema,
        )

    return decorate if function is None else decorate(function)


def _plain(function: Any) -> Callable[..., Any]:
    inner = function.__func__ if isinstance(function, (staticmethod, classmethod)) else function
    if not inspect.isroutine(inner):
        raise ToolDefinitionError(f"@tool needs a function, not a {type(function).__name__}.")
    return cast("Callable[..., Any]", inner)


def _mode(function: Callable[..., Any], thread: bool, place: str) -> Mode:
    if inspect.isasyncgenfunction(function):
        return Mode.STREAM
    if inspect.iscoroutinefunction(function):
        return Mode.ASYNC
    if inspect.isgeneratorfunction(function):
        raise ToolDefinitionError(f"{place} is a sync generator.", "Make it an `async def` to report progress.")
    return Mode.THREAD if thread else Mode.INLINE


def _result_type(returns: Any, mode: Mode) -> Any:
    """The type of a call's result: for a stream that of its items."""
    parts = get_args(returns)
    return (parts[0] if parts else None) if mode is Mode.STREAM else returns


def _effect(effect: str, place: str) -> Effect:
    try:
        return Effect(effect)
    except ValueError:
        raise ToolDefinitionError(f"{place} has effect {effect!r}.", f"Effects are: {', '.join(Effect)}.") from None


def check_name(name: str, place: str) -> None:
    """Refuse a name that models cannot call.

    Raises:
        ToolDefinitionError: It is one; ``place`` says whose.
    """
    if not _NAME.fullmatch(name):
        raise ToolDefinitionError(
            f"{place} is named {name!r}, which models cannot call.",
            "Use up to 64 letters, digits, _ and -, and begin with a letter or _.",
        )
    if name == "none":
        raise ToolDefinitionError(f"{place} is named 'none', which is what models say for no tool.", "Rename it.")


def _check(place: str, timeout_s: float | None, max_concurrency: int | None) -> None:
    if timeout_s is not None and not (_is_number(timeout_s) and 0 < timeout_s < float("inf")):
        hint = "Give seconds above 0, or None for no limit."
        raise ToolDefinitionError(f"{place} has timeout_s={timeout_s!r}.", hint)
    if max_concurrency is not None and not (type(max_concurrency) is int and max_concurrency >= 1):
        raise ToolDefinitionError(f"{place} has max_concurrency={max_concurrency!r}.", "Give 1 or more, or None.")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _examples(examples: Mapping[str, JsonObject], validate: Validate, place: str) -> tuple[ToolExample, ...]:
    for request, arguments in examples.items():
        try:
            validate(arguments)
        except InvalidArguments as error:
            raise ToolDefinitionError(f"{place}: the example {request!r} does not fit. {error}") from None
    return tuple(ToolExample(request, dict(arguments)) for request, arguments in examples.items())
