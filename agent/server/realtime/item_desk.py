"""`ItemDesk`: what clients do with items: put them in, take them out, look at them, cut them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from sayso.history import as_heard
from sayso.items import AssistantReply, Item, JsonObject, ToolCall, ToolOutput, UserInput
from sayso.server.errors import InvalidRequest
from sayso.server.realtime.items import (
    ROOT,
    Entry,
    Items,
    arguments_of,
    new_id,
    shown_call,
    shown_message,
    shown_output,
    to_items,
)
from sayso.server.realtime.outgoing import Outgoing
from sayso.server.realtime.protocol import (
    FunctionCall,
    FunctionCallOutput,
    ItemCreate,
    ItemDelete,
    ItemReference,
    ItemRetrieve,
    ItemTruncate,
    McpApprovalResponse,
    ResponseOptions,
)
from sayso.server.realtime.responder import Responder
from sayso.server.realtime.session_config import SessionConfig
from sayso.server.realtime.sound import from_audio
from sayso.session import Session


class ItemDesk:
    """The items of one connection.

    Args:
        session: The conversation.
        out: Takes the events.
        items: As clients see them.
        responder: Knows what runs.
        config: What is set now.
    """

    def __init__(
        self, session: Session, out: Outgoing, items: Items, responder: Responder, config: Callable[[], SessionConfig]
    ) -> None:
        self._session = session
        self._conversation = session.conductor.conversation
        self._out = out
        self._items = items
        self._responder = responder
        self._config = config
        self._later: list[Callable[[], object]] = []  # what can be done once the turn that runs is over
        self._calls: dict[str, ToolCall] = {}  # of the client, that have no output yet, by item id
        self._answered: set[str] = set()

    def catch_up(self) -> None:
        """A turn is over."""
        later, self._later = self._later, []
        for change in later:
            change()

    async def create(self, event: ItemCreate) -> None:
        """Put an item in.

        Raises:
            InvalidRequest: It cannot be.
        """
        item = event.item
        self._items.check_new(item.id, event.previous_item_id)
        match item:
            case McpApprovalResponse():
                self._approve(item, event.previous_item_id)
            case FunctionCallOutput():
                self._output(item, event.previous_item_id)
            case FunctionCall():
                id = item.id or new_id("item")
                self._calls[id] = ToolCall(id, item.name, arguments_of(item, "item.arguments"))
                self._keep(Entry(shown_call(item, id, item.call_id or new_id("call"))), event.previous_item_id)
            case _:
                id = item.id or new_id("item")
                kept = to_items(item, id, self._config().input_format, "item")
                entry = Entry(shown_message(item, id), id if kept else "")
                entry.seconds = sum(one.audio.seconds for one in kept if isinstance(one, UserInput) and one.audio)
                self._put(kept, event.previous_item_id)
                self._keep(entry, event.previous_item_id)

    def delete(self, event: ItemDelete) -> None:
        """Take an item out.

        Raises:
            InvalidRequest: There is none of this id.
        """
        entry = self._items.get(event.item_id, code="item_delete_invalid_item_id")
        self._items.remove(entry.id)
        self._calls.pop(entry.id, None)
        if entry.named and not self._conversation.remove(entry.named):
            self._defer(lambda: self._conversation.remove(entry.named))
        self._out.send({"type": "conversation.item.deleted", "item_id": entry.id})

    def retrieve(self, event: ItemRetrieve) -> None:
        """Show an item; a user's sound with it, where the conversation has it.

        Raises:
            InvalidRequest: There is none of this id.
        """
        entry = self._items.get(event.item_id, code="item_retrieve_invalid_item_id")
        shown = entry.shown
        if entry.named and shown.get("role") == "user" and shown["content"][0]["type"] == "input_audio":
            users = (one for one in self._conversation.items if isinstance(one, UserInput) and one.audio)
            audio = next((one.audio for one in users if one.id == entry.named), None)
            if audio is not None:
                part = shown["content"][0] | {"audio": from_audio(self._config().input_format, audio)}
                shown = shown | {"content": [part, *shown["content"][1:]]}
        self._out.send({"type": "conversation.item.retrieved", "item": shown})

    async def truncate(self, event: ItemTruncate) -> None:
        """Cut a spoken reply at what was heard of it: its words, and what the model is shown from now on.

        Raises:
            InvalidRequest: It is none, or not so long.
        """
        entry = self._items.get(event.item_id, code="item_truncate_invalid_item_id")
        if entry.shown.get("role") != "assistant" or not entry.voiced:
            raise InvalidRequest(f"Item '{entry.id}' is no reply with sound.", code="invalid_value", param="item_id")
        if event.content_index != 0:
            raise InvalidRequest(
                f"Item '{entry.id}' has no content at {event.content_index}.",
                code="invalid_value",
                param="content_index",
            )
        if event.audio_end_ms > math.ceil(entry.heard.sent_ms):
            raise InvalidRequest(
                f"Audio content of {entry.heard.sent_ms:.0f}ms is already shorter than {event.audio_end_ms}ms.",
                code="invalid_value",
                param="audio_end_ms",
            )
        active = self._responder.active
        if active is not None and entry.shown["status"] == "in_progress":
            await self._responder.interrupt(active, None)
        self._cut(entry, event.audio_end_ms)
        self._out.send(
            {
                "type": "conversation.item.truncated",
                "item_id": entry.id,
                "content_index": 0,
                "audio_end_ms": event.audio_end_ms,
            }
        )

    def inputs(self, asked: ResponseOptions) -> list[Item]:
        """What a response beside the conversation answers.

        Raises:
            InvalidRequest: An item cannot be used.
        """
        if asked.input is None:
            return list(self._conversation.items)
        found, calls = list[Item](), dict[str, ToolCall]()
        for at, item in enumerate(asked.input):
            where = f"response.input[{at}]"
            match item:
                case ItemReference():
                    found += self._referred(item.id, f"{where}.id")
                case FunctionCall():
                    id = item.call_id or new_id("call")
                    calls[id] = ToolCall(id, item.name, arguments_of(item, f"{where}.arguments"))
                case FunctionCallOutput():
                    if (call := calls.pop(item.call_id, None)) is None:
                        raise _no_call(item.call_id, f"{where}.call_id")
                    found += [call, ToolOutput(call.call_id, call.name, item.output)]
                case _:
                    found += to_items(item, item.id or new_id("item"), self._config().input_format, where)
        return found

    def _referred(self, id: str, param: str) -> list[Item]:
        named = self._items.get(id, param).named
        return [
            item
            for item in self._conversation.items
            if named and named == (item.call_id if isinstance(item, ToolCall | ToolOutput) else item.id)
        ]

    def _approve(self, item: McpApprovalResponse, after: str | None) -> None:
        waiting = {request: call_id for call_id, request in self._responder.view.asked.items()}
        call_id = waiting.get(item.approval_request_id)
        approvals = self._session.conductor.approvals
        if call_id is None or approvals.waiting is None or approvals.waiting.call_id != call_id:
            raise InvalidRequest(
                f"No request '{item.approval_request_id}' waits for approval (any more).",
                code="approval_request_not_found",
                param="item.approval_request_id",
            )
        shown = item.model_dump(exclude_none=True, exclude={"status"}) | {"id": item.id or new_id("item")}
        if not item.approve:
            self._session.refuse(call_id)
            self._keep(Entry(shown), after)
            return
        if self._session.is_busy or self._responder.active is not None:
            raise InvalidRequest(
                "Conversation already has an active response in progress.",
                "Answer the request once it is finished.",
                code="conversation_already_has_active_response",
            )
        self._keep(Entry(shown), after)
        job = approvals.approve(call_id)
        self._responder.start(lambda turn: turn.resume(job))

    def _output(self, item: FunctionCallOutput, after: str | None) -> None:
        call = self._items.find(lambda shown: shown["type"] == "function_call" and shown["call_id"] == item.call_id)
        if call is None:
            raise _no_call(item.call_id, "item.call_id")
        if item.call_id in self._answered:
            raise InvalidRequest(
                f"The call '{item.call_id}' has its output already.", code="invalid_value", param="item.call_id"
            )
        self._answered.add(item.call_id)
        entry = Entry(shown_output(item.call_id, item.output, item.id or new_id("item")), call.named)
        if (own := self._calls.pop(call.id, None)) is not None:  # a call that the client put in
            call.named = entry.named = own.call_id
            self._put([own, ToolOutput(own.call_id, own.name, item.output)], after)
        elif self._responder.answer(call.named, item.output):
            self._keep(entry, after, touches=False)
            return
        else:  # its turn was cut off: the result comes late
            late = ToolOutput(call.named, call.shown["name"], item.output)
            self._conversation.add([late], turn_runs=self._session.is_busy)
        self._keep(entry, after)

    def _put(self, kept: Sequence[Item], after: str | None) -> None:
        """Give the session what it keeps of an item, in its place."""
        if after is not None and after != self._items.last_id:
            place = ROOT if after == ROOT else self._items.get(after).id
            for entry in self._items.kept_after(place):
                if self._conversation.insert(kept, before=entry.named):
                    return
        self._conversation.add(kept, turn_runs=self._session.is_busy)

    def _keep(self, entry: Entry, after: str | None, *, touches: bool = True) -> None:
        self._items.add(entry, after=after)
        self._items.done(entry)
        if touches:
            self._responder.touched = True

    def _cut(self, entry: Entry, heard_ms: int) -> None:
        words = "".join(part.get("transcript", "") for part in entry.shown["content"])
        left = _heard([AssistantReply(words)], entry, heard_ms)
        shown: JsonObject = {"type": "output_audio", "transcript": left[0].text if left else ""}
        entry.shown |= {"content": [shown]}

        def cut() -> bool:
            reply = next(
                (one for one in self._conversation.items if isinstance(one, AssistantReply) and one.id == entry.named),
                None,
            )
            if reply is None:
                return False
            kept = _heard([reply], entry, heard_ms)
            if not kept:
                return self._conversation.remove(entry.named)
            return self._conversation.change(entry.named, lambda item: kept[0])

        if entry.named and not cut():
            self._defer(cut)

    def _defer(self, change: Callable[[], object]) -> None:
        if self._session.is_busy:
            self._later.append(change)


def _heard(replies: Sequence[AssistantReply], entry: Entry, heard_ms: int) -> list[AssistantReply]:
    kept = [item for item in as_heard(replies, entry.voiced, heard_ms) if isinstance(item, AssistantReply)]
    return [replace(item, interrupted=item.interrupted or item.text != replies[0].text) for item in kept]


def _no_call(call_id: str, param: str) -> InvalidRequest:
    return InvalidRequest(f"No function call with the call_id '{call_id}' found.", code="item_not_found", param=param)
