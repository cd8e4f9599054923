"""What an operator relies on: the queue, how sessions end, figures, traces, logs, and errors without secrets."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra server is not installed")
pytest.importorskip("prometheus_client", reason="the extra server is not installed")

import httpx
from fastapi import FastAPI, Request, WebSocket
from pydantic import BaseModel
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from sayso import Agent, settings, tool
from sayso.errors import ModelError, ModelMissingError, UsageError
from sayso.events import AudioDelta, SpeechEnded, SpeechStarted
from sayso.models.base import Done, ModelRequest
from sayso.server import Limits, ServerSettings, create_app
from sayso.server.auth import CalledBy, Caller, admit
from sayso.server.errors import Busy, Forbidden, LimitReached, NotFound, SessionEnded, Unavailable
from sayso.server.host import Host, host_of
from sayso.server.keys import KeyFile
from sayso.server.logs import JsonLines, TextLines, log_event, set_up_logs
from sayso.testing import ScriptedModel, call, fail, run, say, tone, wait
from sayso.tools import ToolError
from sayso.tools.journal import Journal

ANN, BOB = Caller("ann", "ann"), Caller("bob", "bob")
SPOKEN = "My card number is 4711"


@tool(effect="read")
def look(where: str) -> str:
    """Look somewhere."""
    if where == "nowhere":
        raise ToolError("Nothing is there.")
    return f"A hat, {where}."


def agent(*steps: Any) -> Agent:
    return Agent(tools=[look], model=ScriptedModel(*steps), journal=Journal())


def host_with(*steps: Any, **changes: Any) -> Host:
    return Host({"sayso": agent(*steps)}, ServerSettings(**({"warm": False} | changes)))


def client_of(app: FastAPI) -> TestClient:
    return TestClient(app, "http://127.0.0.1", client=("127.0.0.1", 1))


# How sessions begin


def test_sessions_wait_for_a_place_first_come_first_served() -> None:
    seen: list[tuple[str, int]] = []

    async def main() -> None:
        host = host_with(max_sessions=1, queue_s=60)
        order: list[str] = []

        async def visit(name: str, seconds: float) -> None:
            async with host.open_session(None, ANN, on_wait=lambda position: seen.append((name, position))):
                order.append(name)
                await asyncio.sleep(seconds)

        async with asyncio.TaskGroup() as tasks:
            for name in "abcd":
                leaver = tasks.create_task(visit(name, 10))
                if name == "b":
                    b = leaver
            await asyncio.sleep(1)
            assert host.places.waiting == 3
            b.cancel()
        assert order == ["a", "c", "d"]
        assert (host.places.taken, host.places.waiting, len(host.sessions)) == (0, 0, 0)

    run(main())
    assert seen == [("b", 1), ("c", 2), ("d", 3), ("c", 1), ("d", 2), ("d", 1)]


def test_a_full_queue_refuses_at_once_and_a_long_one_in_time() -> None:
    async def main() -> None:
        host = host_with(max_sessions=1, queue_length=1, queue_s=5)
        now = asyncio.get_running_loop().time
        async with host.open_session(None, ANN):
            began_s = now()

            async def wait() -> None:
                with pytest.raises(Busy, match="All 1 sessions are taken") as refused:
                    await host.open_session(None, BOB).__aenter__()
                assert refused.value.retry_after_s == 5 and now() == began_s + 5

            waiting = asyncio.create_task(wait())
            await asyncio.sleep(0)
            with pytest.raises(Busy, match="1 wait before"):
                await host.open_session(None, BOB).__aenter__()
            assert now() == began_s
            await waiting
        async with host.open_session(None, BOB):
            pass

    run(main())


def test_a_place_that_comes_as_the_waiter_leaves_goes_on_to_the_next() -> None:
    async def main() -> None:
        host = host_with(max_sessions=1)

        async def visit() -> None:
            async with host.open_session(None, ANN):
                pass

        async with host.open_session(None, ANN):
            first, second = asyncio.create_task(visit()), asyncio.create_task(visit())
            await asyncio.sleep(0)
        first.cancel()  # it has the place already and does not know yet
        await asyncio.wait([first])
        await second
        assert first.cancelled() and host.places.taken == 0

    run(main())


def test_a_session_is_one_callers_and_open_once() -> None:
    async def main() -> None:
        host = host_with()
        async with host.open_session(None, ANN, id="mine"):
            with pytest.raises(Forbidden, match="another caller's"):
                await host.open_session(None, BOB, id="mine").__aenter__()
            with pytest.raises(UsageError, match="open already"):
                await host.open_session(None, ANN, id="mine").__aenter__()
        with pytest.raises(NotFound, match="no agent 'none'"):
            await host.open_session("none", ANN).__aenter__()
        assert host.places.taken == 0

    run(main())


# How sessions end


@pytest.mark.parametrize(
    ("changes", "code"), [({"idle_s": 30}, "session_idle"), ({"max_session_s": 30}, "session_expired")]
)
def test_idle_and_long_sessions_are_ended(changes: dict[str, float], code: str) -> None:
    async def main() -> None:
        host = host_with(**changes)
        now = asyncio.get_running_loop().time
        async with host.running():
            with pytest.raises(SessionEnded) as ended:
                async with host.open_session(None, ANN) as session:
                    await asyncio.sleep(20)
                    host.touch(session)
                    await asyncio.sleep(3600)
            assert ended.value.code == code
            assert now() == pytest.approx(51 if code == "session_idle" else 31, abs=1.1)
            task = asyncio.current_task()
            assert task is not None and not task.cancelling() and not len(host.sessions)

    run(main())


def test_a_turn_that_runs_is_not_idle() -> None:
    async def main() -> str:
        host = host_with((None, [wait(100), say("Done.")]), idle_s=10)
        async with host.running(), host.open_session(None, ANN) as session:
            return (await session.ask("Think long.")).text

    assert run(main()) == "Done."


def test_a_session_whose_key_is_revoked_ends(tmp_path: Any) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    key = keys.add("phone")

    async def main() -> None:
        host = host_with(keys=keys.path)
        caller = host.verifiers[0].verify(key)
        assert caller is not None
        async with host.running():
            with pytest.raises(SessionEnded, match="revoked"):
                async with host.open_session(None, caller):
                    await asyncio.sleep(5)
                    keys.revoke("phone")
                    await asyncio.sleep(3600)

    run(main())


def test_speech_is_counted_and_a_session_that_used_it_up_ends_after_its_turn() -> None:
    async def main() -> None:
        host = host_with((None, [say("x" * 100)]))
        caller = Caller("ann", "ann", limits=Limits(minutes_per_day=0.15))  # 9 s
        async with host.running():
            with pytest.raises(LimitReached) as ended:
                async with host.open_session(None, caller) as session:
                    push = session.conductor.events.tell
                    push(SpeechStarted(at_ms=1000))
                    push(SpeechEnded(at_ms=3000))
                    assert host.usage.spent_s(caller) == 2.0
                    host.spend(caller, 1.5)
                    await session.ask("Go on.")  # 100 characters are 6 s of tone
                    assert host.usage.spent_s(caller) == pytest.approx(9.5)
                    await asyncio.sleep(3600)
            assert ended.value.code == "insufficient_quota"

    run(main())


def test_a_server_that_stops_lets_turns_end() -> None:
    told: list[str] = []

    async def main() -> None:
        host = host_with((None, [wait(3), say("Done.")]), (None, [wait(6), say("Done too.")]))
        now = asyncio.get_running_loop().time

        async def talk() -> None:
            with pytest.raises(SessionEnded) as ended:
                async with host.open_session(None, ANN, on_drain=lambda: told.append("talk")) as session:
                    told.append((await session.ask("One")).text)
                    await asyncio.sleep(3600)
            assert (ended.value.code, ended.value.close_code) == ("server_stopping", 1001)

        async def idle() -> None:
            with pytest.raises(SessionEnded):
                async with host.open_session(None, ANN, on_drain=lambda: told.append("idle")):
                    await asyncio.sleep(3600)
            assert now() < 2

        async def answer() -> None:
            async with host.open_session(None, ANN, brief=True) as session:
                told.append((await session.ask("Two")).text)
                await asyncio.sleep(2)  # it is still being sent

        async with host.running(), asyncio.TaskGroup() as tasks:
            for work in (talk(), idle(), answer()):
                tasks.create_task(work)
                await asyncio.sleep(0.1)
            draining = tasks.create_task(host.drain())
            await asyncio.sleep(0)
            with pytest.raises(Unavailable, match="stopping"):
                await host.open_session(None, ANN).__aenter__()
            await draining
            assert now() == pytest.approx(8.2, abs=0.1)
        assert told == ["talk", "idle", "Done.", "Done too."]

    run(main())


def test_a_server_that_stops_waits_for_requests_without_a_session_too() -> None:
    async def main() -> float:
        host = host_with()

        async def transcribe() -> None:
            async with host.places.one(lambda position: None):
                await asyncio.sleep(4)

        async with host.running(), asyncio.TaskGroup() as tasks:
            tasks.create_task(transcribe())
            await asyncio.sleep(0)
            await host.drain()
            return asyncio.get_running_loop().time()

    assert run(main()) == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize("hurried", [False, True])
def test_a_server_that_stops_does_not_wait_for_ever(hurried: bool) -> None:
    async def main() -> float:
        host = host_with((None, [wait(3600)]), drain_s=10)
        now = asyncio.get_running_loop().time

        async def talk() -> None:
            with pytest.raises(SessionEnded):
                async with host.open_session(None, ANN) as session:
                    await session.ask("One")

        async with host.running(), asyncio.TaskGroup() as tasks:
            tasks.create_task(talk())
            await asyncio.sleep(0.1)
            if hurried:
                asyncio.get_running_loop().call_later(1, host.sessions.hurry)
            await host.drain()
            return now()

    assert run(main()) == pytest.approx(1.1 if hurried else 10.1, abs=0.1)


def test_leaving_the_lifespan_ends_what_is_open_and_what_was_spawned() -> None:
    async def main() -> None:
        host = host_with()
        log: list[str] = []

        async def hold() -> None:
            async with host.open_session(None, ANN):
                await asyncio.sleep(3600)

        async def broken() -> None:
            log.append("ran")
            raise RuntimeError(SPOKEN)

        async with host.running():
            held = host.spawn(hold())
            endless = host.spawn(asyncio.Event().wait())  # pyright: ignore[reportArgumentType]
            host.spawn(broken())
            await asyncio.sleep(1)
        assert held.done() and endless.cancelled() and log == ["ran"]
        with pytest.raises(Unavailable, match="not running"):
            host.spawn(broken())

    run(main())


# Readiness


class SlowModel(ScriptedModel):
    """Takes until it is told to load."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.loaded = asyncio.Event()
        self.error = error

    async def warm(self, request: ModelRequest) -> None:
        await self.loaded.wait()
        if self.error is not None:
            raise self.error


@asynccontextmanager
async def started(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport) as client:
        client.base_url = "http://127.0.0.1"
        yield client


def test_the_server_is_ready_once_its_models_are_warm() -> None:
    async def main() -> None:
        model = SlowModel()
        app = create_app({"one": Agent(model=model), "two": Agent(model=ScriptedModel())})
        async with started(app) as client:
            assert (await client.get("/healthz")).json() == {"status": "ok"}
            answer = await client.get("/readyz")
            assert answer.status_code == 503
            assert answer.json()["missing"] == {"one": "its model is loading", "two": "its model is loading"}
            model.loaded.set()
            await asyncio.sleep(0.1)
            answer = await client.get("/readyz")
            assert answer.json() == {"status": "ready", "agents": ["one", "two"]}
            app.state.host.is_draining = True
            assert (await client.get("/readyz")).json() == {"status": "stopping"}

    run(main())


@pytest.mark.parametrize("error", [ModelMissingError("The weights are gone.", "Pull them."), RuntimeError(SPOKEN)])
def test_a_model_that_cannot_be_loaded_is_told(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        model = SlowModel(error)
        model.loaded.set()
        async with started(create_app({"one": Agent(model=model)})) as client:
            await asyncio.sleep(0.1)
            answer = await client.get("/readyz")
            assert answer.status_code == 503
            assert answer.json()["missing"] == {"one": "its model could not be loaded; the log says why"}

    with caplog.at_level(logging.INFO):
        run(main())
    if isinstance(error, ModelMissingError):
        assert "one is not ready: The weights are gone. Pull them." in caplog.text
    else:
        assert "something broke" in caplog.text and SPOKEN not in caplog.text


# Figures, traces and logs, all of them from the events of sessions


STEPS = (
    (None, [call("look", where="here")]),
    (None, [say("A hat.")]),
    (None, [call("look", where="nowhere")]),
    (None, [say("Nothing.")]),
    (None, [call("made_up")]),
    (None, [say("Sorry.")]),
    (None, [fail(ModelError(f"It broke at {SPOKEN}."))]),
)


async def converse(host: Host, **options: Any) -> None:
    """Four turns: a tool that works, one that fails, one that does not exist, a model that breaks."""
    async with host.running(), host.open_session(None, ANN, id="talk", **options) as session:
        for _ in range(3):
            await session.ask(SPOKEN)
        with pytest.raises(ModelError):
            await session.ask(SPOKEN)
        session.conductor.events.tell(AudioDelta(audio=tone("x" * 10)))
        assert 'sayso_sessions{agent="sayso"} 1.0' in host.metrics.exposition().decode()


def test_figures_come_from_the_events_of_sessions() -> None:
    host = host_with(*STEPS)
    run(converse(host, speak=False))
    figures = host.metrics.exposition().decode()
    for line in (
        'sayso_sessions{agent="sayso"} 0.0',
        'sayso_sessions_opened_total{agent="sayso"} 1.0',
        'sayso_turns_total{agent="sayso",reason="completed"} 3.0',
        'sayso_turns_total{agent="sayso",reason="failed"} 1.0',
        'sayso_tool_calls_total{agent="sayso",status="ok",tool="look"} 1.0',
        'sayso_tool_calls_total{agent="sayso",status="error",tool="look"} 1.0',
        'sayso_tool_calls_total{agent="sayso",status="unknown",tool="other"} 1.0',
        'sayso_tool_seconds_count{agent="sayso",tool="look"} 2.0',
        'sayso_first_text_seconds_count{agent="sayso"} 3.0',
        'sayso_turn_seconds_count{agent="sayso"} 3.0',
        'sayso_speech_seconds_total{agent="sayso",direction="out"} 0.6',
        "sayso_queue_length 0.0",
        "sayso_sessions_free 64.0",
        "process_resident_memory_bytes ",
    ):
        assert line in figures, line
    assert SPOKEN not in figures and "made_up" not in figures and "sayso_gpu" not in figures


def test_the_first_sound_of_an_answer_is_timed() -> None:
    host = host_with((None, [wait(0.25), say("Hello.")]))

    async def main() -> None:
        async with host.open_session(None, ANN) as session:
            await session.ask("Hi")

    run(main())
    figures = host.metrics.exposition().decode()
    assert 'sayso_first_audio_seconds_bucket{agent="sayso",le="0.2"} 0.0' in figures
    assert 'sayso_first_audio_seconds_bucket{agent="sayso",le="0.3"} 1.0' in figures


def test_gpu_memory_is_told_where_torch_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    class Cuda:
        is_available = is_initialized = staticmethod(lambda: True)
        device_count = staticmethod(lambda: 1)
        mem_get_info = staticmethod(lambda index: (30, 80))
        memory_allocated = staticmethod(lambda index: 20)

    class Torch:
        cuda = Cuda

    monkeypatch.setitem(__import__("sys").modules, "torch", Torch)  # there is no GPU here
    figures = host_with().metrics.exposition().decode()
    assert 'sayso_gpu_memory_used_bytes{device="0"} 20.0' in figures
    assert 'sayso_gpu_memory_free_bytes{device="0"} 30.0' in figures


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("opentelemetry.sdk", reason="the OpenTelemetry SDK is not installed")
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return exporter.get_finished_spans


def test_a_turn_is_a_trace_without_content(spans: Any) -> None:
    run(converse(host_with(*STEPS)))
    found = spans()
    turns = [span for span in found if span.name == "invoke_agent sayso"]
    assert len(turns) == 4
    first = [span for span in found if span.parent and span.parent.span_id == turns[0].context.span_id]
    assert [span.name for span in first] == ["chat scripted", "execute_tool look", "chat scripted"]
    assert turns[0].attributes == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "sayso",
        "gen_ai.conversation.id": "talk",
        "gen_ai.request.model": "scripted",
        "sayso.turn": 1,
        "sayso.turn.reason": "completed",
    }
    assert dict(first[1].attributes) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "look",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": "call_1_1",
    }
    for span in (*first, *turns):
        assert span.start_time <= span.end_time
    assert all(turns[0].start_time <= span.start_time and span.end_time <= turns[0].end_time for span in first)
    failed = [span for span in found if span.name == "execute_tool look"][1]
    assert failed.attributes["error.type"] == "error" and failed.status.status_code.name == "ERROR"
    assert turns[3].attributes["error.type"] == "failed"
    told = json.dumps([json.loads(span.to_json()) for span in found])
    assert SPOKEN not in told and "A hat" not in told and '"where"' not in told


def test_rounds_tell_their_tokens_and_their_first_chunk(spans: Any) -> None:
    class Counting(ScriptedModel):
        async def respond(self, request: ModelRequest) -> Any:
            async for event in super().respond(request):
                yield Done(prompt_tokens=7, completion_tokens=3) if isinstance(event, Done) else event

    model = Counting((None, [wait(0.5), say("Hello."), wait(2)]))
    host = Host({"sayso": Agent(model=model)}, ServerSettings(warm=False))

    async def main() -> None:
        async with host.open_session(None, ANN) as session:
            await session.ask("Hi")

    run(main())
    (chat,) = [span for span in spans() if span.name.startswith("chat")]
    assert chat.attributes["gen_ai.usage.input_tokens"] == 7
    assert chat.attributes["gen_ai.usage.output_tokens"] == 3
    assert chat.attributes["gen_ai.response.time_to_first_chunk"] == pytest.approx(0.5)
    assert (chat.end_time - chat.start_time) / 1e9 == pytest.approx(2.5, abs=1e-3)
    assert 'sayso_tokens_total{agent="sayso",kind="prompt"} 7.0' in host.metrics.exposition().decode()


def test_an_interrupted_turn_is_a_whole_trace(spans: Any) -> None:
    async def main() -> None:
        host = host_with((None, [say("A long"), wait(10), say("answer.")]))
        async with host.open_session(None, ANN) as session:
            asking = asyncio.create_task(session.ask("Hi"))
            await asyncio.sleep(1)
            await session.interrupt()
            await asking

    run(main())
    chat, turn = spans()
    assert (chat.attributes["error.type"], turn.attributes["sayso.turn.reason"]) == ("interrupted", "interrupted")


def test_content_is_traced_where_the_operator_wants_it(spans: Any) -> None:
    run(converse(host_with(*STEPS, trace_content=True)))
    by_name = {span.name: span.attributes for span in reversed(spans())}
    assert SPOKEN in by_name["invoke_agent sayso"]["gen_ai.input.messages"]
    assert "A hat." in by_name["invoke_agent sayso"]["gen_ai.output.messages"]
    assert json.loads(by_name["execute_tool look"]["gen_ai.tool.call.arguments"]) == {"where": "here"}
    assert by_name["execute_tool look"]["gen_ai.tool.call.result"] == "A hat, here."


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    names = ("sayso", "uvicorn")
    before = [(logging.getLogger(name).handlers[:], logging.getLogger(name).level) for name in names]
    stream = io.StringIO()
    set_up_logs("json", stream)
    yield stream
    for name, (handlers, level) in zip(names, before, strict=True):
        logger = logging.getLogger(name)
        logger.handlers[:], logger.propagate = handlers, True
        logger.setLevel(level)


def test_logs_tell_of_sessions_and_not_what_was_said(logged: io.StringIO) -> None:
    run(converse(host_with(*STEPS)))
    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    assert [line["event"] for line in lines] == [
        "session opened",
        *("call finished", "turn done") * 3,
        "turn failed",
        "session closed",
    ]
    assert all(line["session"] == "talk" for line in lines)
    assert lines[0].items() >= {"level": "info", "agent": "sayso", "caller": "ann"}.items()
    assert lines[1].items() >= {"tool": "look", "status": "ok", "call": "call_1_1", "turn": 1}.items()
    assert lines[2]["reason"] == "completed" and lines[2]["first_audio_ms"] >= 0
    assert lines[-1].items() >= {"turns": 4, "ended_by": "client"}.items()
    for secret in (SPOKEN, "A hat", "where"):
        assert secret not in logged.getvalue()


@pytest.mark.parametrize("form", [JsonLines(), TextLines()])
def test_a_line_has_no_secret_and_no_traceback(form: logging.Formatter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAYSO_TEST_KEY", "sk-very-secret")
    settings.secret("SAYSO_TEST_KEY")
    records: list[logging.LogRecord] = []
    logger = logging.Logger("sayso.test")
    logger.addFilter(lambda record: records.append(record) is None)
    log_event(logger, "asked with sk-very-secret", path='/a b"\n\x1b[31m', key="sk-very-secret", none=None)
    try:
        raise ValueError(SPOKEN)
    except ValueError:
        logger.exception("broke\nhere")
    first, second = map(form.format, records)
    assert "sk-very-secret" not in first and "[SAYSO_TEST_KEY]" in first and "none" not in first
    assert SPOKEN not in second and "ValueError" in second and "test_server_operations.py:" in second
    assert "\n" not in first + second and "\x1b" not in first + second and "Traceback" not in second


# What callers are told


class Form(BaseModel):
    count: int


def app_with_routes(**changes: Any) -> FastAPI:
    app = create_app(agent(), ServerSettings(**({"warm": False} | changes)))

    async def take(form: Form, caller: CalledBy) -> int:
        return form.count

    async def read(request: Request) -> int:
        return len(await request.body())

    async def raw() -> None:
        raise RuntimeError(SPOKEN)

    async def model() -> None:
        raise ModelError("The model fell over.", "Ask again.")

    async def usage() -> None:
        raise UsageError("There is no voice 'x'.", "List them.")

    async def live(websocket: WebSocket) -> None:
        caller = await admit(websocket)
        what = await websocket.receive_text()
        if what == "break":
            raise RuntimeError(SPOKEN)
        if what == "usage":
            raise UsageError("There is no voice 'x'.", "List them.")
        async with host_of(websocket).open_session(None, caller):
            await websocket.send_text("open")
            await websocket.receive_text()

    for route in (take, read, raw, model, usage):
        app.add_api_route(f"/t/{route.__name__}", route, methods=["POST"])
    app.add_api_websocket_route("/t/live", live)
    return app


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        (
            "/t/take",
            b'{"count": "many"}',
            400,
            {
                "message": "count: Input should be a valid integer, unable to parse string as an integer.",
                "type": "invalid_request_error",
                "param": "count",
                "code": "int_parsing",
            },
        ),
        ("/t/take", b"{", 400, {"code": "json_invalid", "param": None}),
        (
            "/t/take",
            b"[1]",
            400,
            {"message": "The body has to be a JSON object. Send it with Content-Type: application/json."},
        ),
        ("/t/take", b"", 400, {"code": "missing"}),
        ("/t/none", b"", 404, {"code": "not_found"}),
        ("/healthz", b"", 405, {"type": "invalid_request_error"}),
        ("/t/usage", b"", 400, {"message": "There is no voice 'x'. List them.", "type": "invalid_request_error"}),
        ("/t/model", b"", 503, {"message": "The model fell over. Ask again.", "type": "server_error"}),
        (
            "/t/raw",
            b"",
            500,
            {
                "message": "Something broke in the server. Its log says where.",
                "type": "server_error",
                "param": None,
                "code": "internal_error",
            },
        ),
    ],
)
def test_every_error_has_openais_form(
    path: str, body: bytes, status: int, error: dict[str, Any], logged: io.StringIO
) -> None:
    client = client_of(app_with_routes())
    answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.json()["error"].items() >= error.items()
    assert len(answer.headers["X-Request-ID"]) == 32
    request = json.loads(logged.getvalue().splitlines()[-1])
    assert (request["path"], request["status"], request["id"]) == (path, status, answer.headers["X-Request-ID"])
    assert SPOKEN not in logged.getvalue() and "Traceback" not in logged.getvalue()
    if status == 405:
        assert answer.headers["Allow"] == "GET"
    if status == 500:
        assert "test_server_operations.py:" in logged.getvalue()


def test_a_body_over_the_limit_is_refused_whether_it_says_so_or_not() -> None:
    client = client_of(app_with_routes(max_body_bytes=100))
    assert client.post("/t/read", content=b"x" * 100).json() == 100
    for body in (b"x" * 101, iter([b"x" * 60, b"x" * 60])):
        for path in ("/t/read", "/t/take"):
            answer = client.post(path, content=body)
            assert answer.status_code == 413, path
            assert answer.json()["error"]["code"] == "request_too_large"
            body = iter([b"x" * 60, b"x" * 60]) if not isinstance(body, bytes) else body


@pytest.mark.parametrize(
    ("sent", "code", "message", "closed_with"),
    [
        ("break", "internal_error", "Something broke in the server. Its log says where.", 1011),
        ("usage", None, "There is no voice 'x'. List them.", 1008),
        ("open", "server_busy", "All 1 sessions are taken, and 0 wait before this one. Try again later.", 1013),
    ],
)
def test_a_websocket_is_told_and_closed(
    sent: str, code: str | None, message: str, closed_with: int, logged: io.StringIO
) -> None:
    app = app_with_routes(max_sessions=1, queue_length=0)
    with client_of(app) as client, client.websocket_connect("ws://127.0.0.1/t/live") as first:
        first.send_text("open")
        assert first.receive_text() == "open"
        with client.websocket_connect("ws://127.0.0.1/t/live") as websocket:
            websocket.send_text(sent)
            event = websocket.receive_json()
            assert (event["type"], event["error"]["code"], event["error"]["message"]) == ("error", code, message)
            assert event["event_id"] and ("retry_after_s" in event["error"]) == (code == "server_busy")
            with pytest.raises(WebSocketDisconnect) as closed:
                websocket.receive_text()
        assert closed.value.code == closed_with
    assert SPOKEN not in logged.getvalue()


def test_a_websocket_whose_session_is_ended_is_told() -> None:
    app = app_with_routes()
    with client_of(app) as client, client.websocket_connect("ws://127.0.0.1/t/live") as websocket:
        websocket.send_text("open")
        websocket.receive_text()
        (opened,) = app.state.host.sessions
        assert client.portal is not None
        client.portal.call(opened.end, SessionEnded("Nothing happened.", code="session_idle"))
        assert websocket.receive_json()["error"]["code"] == "session_idle"
        with pytest.raises(WebSocketDisconnect) as closed:
            websocket.receive_text()
    assert (closed.value.code, closed.value.reason) == (1001, "session_idle")


def test_a_client_that_leaves_is_no_fault(logged: io.StringIO) -> None:
    app = app_with_routes()
    with client_of(app) as client:
        with client.websocket_connect("ws://127.0.0.1/t/live") as websocket:
            websocket.send_text("open")
            websocket.receive_text()
        assert not len(app.state.host.sessions)
    events = [json.loads(line)["event"] for line in logged.getvalue().splitlines()]
    assert "something broke" not in events and "websocket closed" in events


def test_what_watches_a_session_cannot_break_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise RuntimeError(SPOKEN)

    async def main() -> str:
        host = host_with((None, [say("Fine.")]))
        monkeypatch.setattr(host.metrics, "follow", lambda agent: broken)
        async with host.open_session(None, ANN) as session:
            return (await session.ask("Hi")).text

    assert run(main()) == "Fine."


def test_there_has_to_be_an_agent() -> None:
    with pytest.raises(UsageError, match="no agent to serve"):
        create_app({})
