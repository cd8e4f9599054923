"""`TurnView`: from the events of a session's turns to responses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sayso import events
from sayso.items import JsonObject
from sayso.server.realtime.items import Entry
from sayso.server.realtime.responses import Reason, Response
from sayso.settings import redact


@dataclass(slots=True, eq=False)
class Turn:
    """The turn that runs.

    Attributes:
        response: What clients are shown of it now; None while the client runs its tools.
        word_ids: The messages that hold words of its reply, in order.
        opened: Calls that are not over, by id: the tool's name and the arguments, once they are known.
        clients: Calls of this round that the client has to run.
        round_ended: The model has written all of this round.
        parked: The client's calls that the turn waits for, with what came for them.
        audio_ms: How much sound its finished responses have.
    """

    response: Response | None = None
    word_ids: list[str] = field(default_factory=list[str])
    opened: dict[str, tuple[str, JsonObject]] = field(default_factory=dict[str, tuple[str, JsonObject]])
    clients: dict[str, Entry] = field(default_factory=dict[str, Entry])
    round_ended: bool = False
    parked: dict[str, str | None] = field(default_factory=dict[str, "str | None"])
    audio_ms: float = 0.0

    @property
    def is_parked(self) -> bool:
        """Whether it waits for the client."""
        return bool(self.parked)


class TurnView:
    """Shows the turns of one session.

    Args:
        begin: Makes the response of a turn, or of what follows the client's tools.
        is_clients: Whether the client runs the tool of this name.
        ended: Called when a response is over.
        settled: Called when a turn is over, with what it was.

    Attributes:
        turn: The one that runs, or None.
        reason: Why the turn that runs is being cut off.
        asked: The requests for approval that wait, by the id of the call.
        agreed: The one that was agreed to last, until its call runs.
    """

    def __init__(
        self,
        begin: Callable[[], Response],
        is_clients: Callable[[str], bool],
        ended: Callable[[Response], None],
        settled: Callable[[Turn], None],
    ) -> None:
        self._begin = begin
        self._is_clients = is_clients
        self._ended = ended
        self._settled = settled
        self.turn: Turn | None = None
        self.reason: Reason = "turn_detected"
        self.asked: dict[str, str] = {}
        self.agreed: str | None = None

    @property
    def response(self) -> Response | None:
        """What is being written."""
        return None if self.turn is None else self.turn.response

    def take(self, event: events.Event, response: Response | None = None) -> None:
        """The next event of a turn; others are ignored.

        Args:
            event: What happened.
            response: That was asked for, where the turn answers a client; else one is made.
        """
        match event:
            case events.TurnStarted():
                self.turn = Turn(response or self._begin())
                self.reason = "turn_detected"
            case events.ApprovalResolved():
                request = self.asked.pop(event.call_id, None)
                self.agreed = request if event.decision == "approved" else None
            case events.TurnDone() | events.TurnFailed() | events.Interrupted() if self.turn is not None:
                self._end(self.turn, event)
            case _ if self.turn is not None:
                self._during(self.turn, event)
            case _:
                pass

    def go_on(self, response: Response) -> None:
        """The client's tools have run: what follows is another response."""
        assert self.turn is not None
        self.turn.parked.clear()
        self.turn.clients.clear()
        self.turn.response = response

    def _during(self, turn: Turn, event: events.Event) -> None:
        response = turn.response
        match event:
            case events.CallOpened():
                turn.opened[event.call_id] = event.name, {}
                turn.round_ended = False
                if response is not None:
                    response.end_words()
            case events.CallReady():
                turn.opened[event.call_id] = event.name, event.arguments
                turn.round_ended = False
            case events.CallStarted():
                self._started(turn, event)
            case events.CallFinished():
                self._finished(turn, event)
            case events.RoundDone():
                turn.round_ended = True
                if response is not None:
                    response.round_done(event.prompt_tokens, event.completion_tokens)
                self._park(turn)
            case events.ApprovalRequested() if response is not None:
                self.asked[event.call_id] = response.ask(event.name, event.arguments).id
            case events.TextDelta() | events.AudioDelta() if response is not None:
                turn.round_ended = False
                if isinstance(event, events.TextDelta):
                    response.write(event.text)
                else:
                    response.play(event.audio, event.text, filler=event.filler)
            case _:
                pass

    def _started(self, turn: Turn, event: events.CallStarted) -> None:
        if (opened := turn.opened.get(event.call_id)) is None or turn.response is None:
            return
        name, arguments = opened
        if self._is_clients(name):
            turn.clients[event.call_id] = turn.response.call_client(event.call_id, name, arguments)
            self._park(turn)
            return
        approval_id, self.agreed = self.agreed, None
        turn.response.call_server(event.call_id, name, arguments, approval_id)

    def _finished(self, turn: Turn, event: events.CallFinished) -> None:
        opened = turn.opened.pop(event.call_id, None)
        response = turn.response
        if opened is not None and response is not None and not self._is_clients(opened[0]):
            if event.status != "waiting" and not response.finish_call(event.call_id, event.status, event.output):
                response.call_server(event.call_id, opened[0], opened[1], None)  # it did not run
                response.finish_call(event.call_id, event.status, event.output)
        self._park(turn)

    def _park(self, turn: Turn) -> None:
        """Once the round is written and what runs here is over, the rest is the client's: the response ends."""
        if turn.round_ended and turn.clients and not turn.parked and turn.opened.keys() <= turn.clients.keys():
            turn.parked = dict.fromkeys(turn.clients)
            self._end_response(turn, Response.end)

    def _end(self, turn: Turn, event: events.TurnDone | events.TurnFailed | events.Interrupted) -> None:
        match event:
            case events.Interrupted():
                self._end_response(turn, lambda response: response.cut_off(self.reason))
                return  # what the turn came to follows
            case events.TurnFailed():
                self._end_response(turn, lambda response: response.fail(redact(event.message)))
            case events.TurnDone():
                self._end_response(turn, Response.end)
        self.turn = None
        self._settled(turn)

    def _end_response(self, turn: Turn, end: Callable[[Response], None]) -> None:
        response, turn.response = turn.response, None
        if response is None:
            return
        end(response)
        turn.word_ids += response.word_ids
        turn.audio_ms += response.audio_ms
        self._ended(response)
