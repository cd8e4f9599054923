"""Who may use the server: API keys, tokens, anonymous callers, pages, and what each may use."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra server is not installed")
pytest.importorskip("jwt", reason="the extra server is not installed")

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from fastapi import FastAPI, Request, WebSocket
from pydantic import SecretStr
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from sayso import Agent
from sayso.errors import UsageError
from sayso.server import JwtSettings, Limits, ServerSettings, create_app
from sayso.server.auth import CalledBy, Caller, admit
from sayso.server.errors import LimitReached
from sayso.server.host import host_of
from sayso.server.keys import PREFIX, KeyFile
from sayso.server.limits import REMEMBERED, Usage
from sayso.testing import ScriptedModel, say

HOME = "http://127.0.0.1:8000"
SECRET = "a secret that is long enough for HS256"


def agent() -> Agent:
    return Agent(model=ScriptedModel(*[(None, [say("Fine.")])] * 20))


def app_of(settings: ServerSettings, **agents: Agent) -> FastAPI:
    """The server with one route of each kind."""
    app = create_app(agents or {"one": agent(), "two": agent()}, settings.model_copy(update={"warm": False}))

    async def ask(request: Request, caller: CalledBy, model: str | None = None) -> dict[str, str]:
        async with host_of(request).open_session(model, caller) as session:
            result = await session.ask("How are you?")
            return {"caller": caller.name, "said": result.text, "agent": host_of(request).agent_name(model, caller)}

    async def live(websocket: WebSocket) -> None:
        caller = await admit(websocket)
        async with host_of(websocket).open_session(None, caller):
            await websocket.send_json({"caller": caller.name})
            await websocket.receive()

    app.add_api_route("/t/ask", ask, methods=["GET", "POST"])
    app.add_api_websocket_route("/t/live", live)
    return app


def client_of(app: FastAPI, key: str | None = None, peer: str = "127.0.0.1") -> TestClient:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return TestClient(app, HOME, client=(peer, 1), headers=headers)


def token(**changes: Any) -> str:
    claims = {"sub": "ann", "aud": "sayso", "exp": time.time() + 60} | changes
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, SECRET, "HS256")


def by_token(**changes: Any) -> ServerSettings:
    return ServerSettings(jwt=JwtSettings(**({"key": SecretStr(SECRET), "audience": "sayso"} | changes)))


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys.json")


def settings_of(keys: KeyFile) -> ServerSettings:
    return ServerSettings(keys=keys.path)


def test_a_key_is_known_again_and_its_file_holds_no_secret(keys: KeyFile) -> None:
    key = keys.add("phone", Limits(sessions=2), ("one",), operator=True)
    caller = KeyFile(keys.path).verify(key)
    assert caller is not None
    assert (caller.name, caller.agents, caller.limits.sessions, caller.operator) == (
        "phone",
        frozenset({"one"}),
        2,
        True,
    )
    secret = key.removeprefix(PREFIX).partition("-")[2]
    assert len(secret) >= 43 and secret not in keys.path.read_text()
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600
    for wrong in (key + "x", key[:-1], key.removeprefix("sk-"), PREFIX, "", PREFIX + "0" * 12 + "-" + secret, "é"):
        assert keys.verify(wrong) is None


def test_two_keys_of_one_name_are_not_salted_alike(keys: KeyFile) -> None:
    keys.add("a")
    keys.add("b")
    assert len({key.salt for key in keys.keys()} | {key.hash for key in keys.keys()}) == 4


def test_a_running_server_sees_what_another_process_changes(keys: KeyFile) -> None:
    running = KeyFile(keys.path)
    key = keys.add("phone")
    caller = running.verify(key)
    assert caller is not None and running.is_valid(caller)
    keys.revoke("phone")
    assert running.verify(key) is None and not running.is_valid(caller)
    assert keys.add("phone") != key  # a name may be used again


def test_a_file_that_breaks_while_the_server_runs_locks_nobody_out(
    keys: KeyFile, caplog: pytest.LogCaptureFixture
) -> None:
    key = keys.add("phone")
    keys.path.write_text("{")
    assert keys.verify(key) is not None
    assert "is no file of API keys" in caplog.text


def test_keys_that_cannot_be_made_or_found(keys: KeyFile, tmp_path: Path) -> None:
    keys.add("phone")
    for broken, told in (
        (lambda: keys.add("phone"), "already"),
        (lambda: keys.add("a\nb"), "called"),
        (lambda: keys.revoke("desk"), "no key 'desk'"),
        (lambda: KeyFile(tmp_path), "cannot be read"),
        (lambda: KeyFile(tmp_path / "keys.json" / "more.json").add("x"), "keys.json"),
        (lambda: create_app(agent(), ServerSettings(keys=tmp_path / "none.json")), "sayso keys add"),
    ):
        with pytest.raises(UsageError, match=told):
            broken()
    (tmp_path / "other.json").write_text('{"keys": [{"id": "x"}]}')
    with pytest.raises(UsageError, match="no file of API keys"):
        KeyFile(tmp_path / "other.json")


def test_without_a_key_that_counts_nobody_is_served(keys: KeyFile) -> None:
    key = keys.add("phone")
    app = app_of(settings_of(keys))
    assert client_of(app, key).get("/t/ask").json() == {"caller": "phone", "said": "Fine.", "agent": "one"}
    for wrong, told in ((None, "No API key"), ("sk-wrong", "wrong, revoked, or expired")):
        answer = client_of(app, wrong).get("/t/ask")
        assert answer.status_code == 401 and answer.headers["WWW-Authenticate"] == "Bearer"
        error = answer.json()["error"]
        assert told in error.pop("message")
        assert error == {"type": "invalid_request_error", "param": None, "code": "invalid_api_key"}
    assert client_of(app, "").get("/healthz").status_code == 200


def test_a_browser_gives_its_key_as_a_subprotocol(keys: KeyFile) -> None:
    key = keys.add("page")
    client = client_of(app_of(settings_of(keys)))
    with client.websocket_connect(
        "ws://127.0.0.1/t/live", subprotocols=["realtime", f"openai-insecure-api-key.{key}"]
    ) as websocket:
        assert websocket.accepted_subprotocol == "realtime"
        assert websocket.receive_json() == {"caller": "page"}
    with pytest.raises(WebSocketDenialResponse) as refused:
        with client.websocket_connect("ws://127.0.0.1/t/live", subprotocols=["realtime", "openai-insecure-api-key.no"]):
            pass
    assert refused.value.status_code == 401
    assert refused.value.json()["error"]["code"] == "invalid_api_key"


def test_a_key_may_be_for_some_agents_alone(keys: KeyFile) -> None:
    key = keys.add("phone", agents=("two",))
    app = app_of(settings_of(keys))
    client = client_of(app, key)
    assert client.get("/t/ask").json()["agent"] == "two"
    assert client.get("/t/ask?model=gpt-realtime").json()["agent"] == "two"  # what stock clients ask for
    for name in ("one", "three"):  # whether it exists is not told
        answer = client.get(f"/t/ask?model={name}")
        assert answer.status_code == 404
        assert answer.json()["error"] == {
            "message": f"There is no agent '{name}'. There are: two.",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    none = client_of(app, keys.add("nobody", agents=())).get("/t/ask")
    assert none.status_code == 404


def test_requests_a_minute(keys: KeyFile) -> None:
    key = keys.add("phone", Limits(requests_per_minute=2))
    client = client_of(app_of(settings_of(keys)), key)
    assert [client.get("/t/ask").status_code for _ in range(3)] == [200, 200, 429]
    answer = client.get("/t/ask")
    assert 1 <= int(answer.headers["Retry-After"]) <= 30
    assert answer.json()["error"]["type"] == "rate_limit_error"
    with client.websocket_connect("ws://127.0.0.1/t/live") as websocket:  # accepted, so that a browser is told why
        error = websocket.receive_json()
        assert (error["type"], error["error"]["code"]) == ("error", "rate_limit_exceeded")
        assert 1 <= error["error"]["retry_after_s"] <= 30
        with pytest.raises(WebSocketDisconnect) as closed:
            websocket.receive_json()
    assert closed.value.code == 4429


def test_sessions_at_a_time(keys: KeyFile) -> None:
    key = keys.add("phone", Limits(sessions=1))
    client = client_of(app_of(settings_of(keys)), key)
    with client:
        with client.websocket_connect("ws://127.0.0.1/t/live") as websocket:
            websocket.receive_json()
            answer = client.get("/t/ask")
            assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_many_sessions")
            assert "Retry-After" in answer.headers
        assert client.get("/t/ask").status_code == 200


def test_minutes_of_speech_a_day(keys: KeyFile) -> None:
    key = keys.add("phone", Limits(minutes_per_day=0.005))
    client = client_of(app_of(settings_of(keys)), key)  # 0.3 s
    assert client.get("/t/ask").status_code == 200  # it spoke 0.3 s: an answer that was begun is given
    answer = client.get("/t/ask")
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "insufficient_quota")
    assert 1 <= int(answer.headers["Retry-After"]) <= 86_400


def test_usage_by_the_clock() -> None:
    now_s = 86_400.0 * 100 + 10
    usage = Usage(lambda: now_s)
    caller = Caller("a", "a", limits=Limits(requests_per_minute=60, minutes_per_day=1))
    for _ in range(60):
        usage.count_request(caller)
    with pytest.raises(LimitReached) as refused:
        usage.count_request(caller)
    assert refused.value.retry_after_s == pytest.approx(1.0)
    now_s += 1.0
    usage.count_request(caller)
    usage.spend(caller, 60)
    with pytest.raises(LimitReached) as refused, usage.session(caller):
        pass
    assert refused.value.retry_after_s == pytest.approx(86_400 - 11)
    now_s += 86_400 - 11  # midnight
    with usage.session(caller):
        assert usage.spent_s(caller) == 0


def test_usage_forgets_idle_callers_and_nobody_else() -> None:
    now_s = 0.0
    usage = Usage(lambda: now_s)
    owing = Caller("owing", "owing", limits=Limits(minutes_per_day=1))
    usage.spend(owing, 60)
    for number in range(REMEMBERED - 1):
        usage.count_request(Caller(f"{number}", "", limits=Limits(requests_per_minute=1)))
    now_s = 3600.0
    usage.count_request(Caller("new", "new", limits=Limits(requests_per_minute=1)))
    assert len(usage._used) == 2
    assert usage.spent_s(owing) == 60


def test_tokens_that_count() -> None:
    app = app_of(by_token())
    assert client_of(app, token()).get("/t/ask").json()["caller"] == "ann"
    assert client_of(app, token(agents=["two"])).get("/t/ask").json()["agent"] == "two"
    assert client_of(app_of(by_token(issuer="us")), token(iss="us")).get("/t/ask").status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": 1},
        {"exp": None},
        {"sub": None},
        {"sub": ""},
        {"aud": None},
        {"aud": "other"},
        {"nbf": 9_999_999_999},
        {"agents": "two"},
        {"agents": [1]},
    ],
)
def test_tokens_that_do_not_count(changes: dict[str, Any]) -> None:
    assert client_of(app_of(by_token()), token(**changes)).get("/t/ask").status_code == 401


def test_the_key_decides_the_algorithm_and_never_the_token() -> None:
    private = rsa.generate_private_key(65537, 2048)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    app = app_of(by_token(key=SecretStr(public.decode())))
    claims = {"sub": "ann", "aud": "sayso", "exp": time.time() + 60}
    assert client_of(app, jwt.encode(claims, private, "RS256")).get("/t/ask").status_code == 200
    signed_with_the_public_key = _forged(claims, public)
    for forged in (signed_with_the_public_key, jwt.encode(claims, None, "none"), jwt.encode(claims, SECRET, "HS256")):
        assert client_of(app, forged).get("/t/ask").status_code == 401
    assert client_of(app_of(by_token()), jwt.encode(claims, None, "none")).get("/t/ask").status_code == 401


def _forged(claims: dict[str, Any], key: bytes) -> str:
    """A token signed by HMAC with bytes that are no secret; PyJWT itself refuses to make it."""
    import base64
    import hashlib
    import hmac

    def encoded(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    head = encoded(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    body = f"{head}.{encoded(json.dumps(claims).encode())}"
    return f"{body}.{encoded(hmac.new(key, body.encode(), hashlib.sha256).digest())}"


def test_keys_for_tokens_that_cannot_be_used() -> None:
    private = rsa.generate_private_key(65537, 2048)
    pem: Callable[..., bytes] = private.private_bytes
    no_rsa = ec.generate_private_key(ec.SECP256R1()).public_key()
    for key, told in (
        ("short", "fewer than 32 bytes"),
        (
            pem(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode(),
            "private",
        ),
        ("-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----", "no RSA public key"),
        (
            no_rsa.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode(),
            "no RSA public key",
        ),
    ):
        with pytest.raises(UsageError, match=told) as refused:
            create_app(agent(), by_token(key=SecretStr(key)))
        assert key not in str(refused.value)


def test_without_keys_this_machine_is_one_caller_and_others_are_refused() -> None:
    app = app_of(ServerSettings(anonymous_limits=Limits(sessions=1)))
    assert client_of(app).get("/t/ask").json()["caller"] == "local"
    answer = client_of(app, peer="192.0.2.7").get("/t/ask")
    assert answer.status_code == 401 and "its own machine" in answer.text
    insecure = app_of(ServerSettings(insecure=True))
    assert client_of(insecure, peer="192.0.2.7").get("/t/ask").status_code == 200


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (ServerSettings(host="0.0.0.0"), "without keys"),
        (ServerSettings(host="192.0.2.1"), "without keys"),
        (ServerSettings(cors=("*",)), "Every web page"),
    ],
)
def test_a_server_that_anybody_could_use_is_not_made(settings: ServerSettings, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        create_app(agent(), settings)
    create_app(agent(), settings.model_copy(update={"insecure": True}))


def test_a_page_that_reaches_this_machine_by_a_name_of_its_own_is_refused() -> None:
    client = client_of(app_of(ServerSettings(allowed_hosts=("voice.example.org",))))
    for name, status in (
        ("127.0.0.1", 200),
        ("localhost:8000", 200),
        ("[::1]:8000", 200),
        ("[::1]", 200),
        ("voice.example.org", 200),
        ("VOICE.example.org:443", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example:8000", 403),
        ("", 403),
    ):
        answer = client.get("/t/ask", headers={"Host": name})
        assert answer.status_code == status, name
    assert answer.json()["error"]["code"] == "host_not_allowed"


def test_pages_of_other_origins_are_refused_unless_they_are_named() -> None:
    client = client_of(app_of(ServerSettings(cors=("https://app.example.org",))))
    for origin, status in (
        (HOME, 200),
        ("https://app.example.org", 200),
        ("https://evil.example", 403),
        ("null", 403),
        ("http://127.0.0.1:9000", 403),
        ("https://app.example.org.evil.example", 403),
    ):
        assert client.post("/t/ask", headers={"Origin": origin, "Host": "127.0.0.1:8000"}).status_code == status, origin
    with pytest.raises(WebSocketDenialResponse) as refused:
        with client.websocket_connect("ws://127.0.0.1/t/live", headers={"Origin": "https://evil.example"}):
            pass
    assert refused.value.json()["error"]["code"] == "origin_not_allowed"
    with client.websocket_connect("ws://127.0.0.1/t/live", headers={"Origin": "http://127.0.0.1"}) as websocket:
        assert websocket.receive_json() == {"caller": "local"}


def test_cors_is_closed_unless_origins_are_named() -> None:
    asked = {"Origin": "https://app.example.org", "Access-Control-Request-Method": "POST"}
    closed = client_of(app_of(ServerSettings())).options("/t/ask", headers=asked)
    assert closed.status_code == 405 and "access-control-allow-origin" not in closed.headers
    client = client_of(app_of(ServerSettings(cors=("https://app.example.org",))))
    assert client.options("/t/ask", headers=asked).headers["access-control-allow-origin"] == "https://app.example.org"
    other = client.options("/t/ask", headers=asked | {"Origin": "https://evil.example"})
    assert other.status_code == 400 and "access-control-allow-origin" not in other.headers


def test_figures_are_the_operators(keys: KeyFile) -> None:
    plain, operator = keys.add("app"), keys.add("us", operator=True)
    app = app_of(settings_of(keys))
    assert client_of(app).get("/metrics").status_code == 401
    refused = client_of(app, plain).get("/metrics")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")
    figures = client_of(app, operator).get("/metrics")
    assert figures.status_code == 200
    assert 'sayso_refused_total{code="invalid_api_key"} 1.0' in figures.text
    assert 'sayso_refused_total{code="forbidden"} 1.0' in figures.text
