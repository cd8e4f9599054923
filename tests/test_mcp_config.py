"""The configuration file of MCP servers."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from sayso.errors import UsageError
from sayso.settings import redact
from sayso.tools.mcp import Http, Stdio, load_servers


def written(folder: Path, servers: Any, key: str = "mcpServers") -> Path:
    file = folder / "mcp.json"
    file.write_text(json.dumps({key: servers}))
    return file


def test_commands_and_urls_with_what_their_owner_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTES_TOKEN", "very-secret-9")
    servers = load_servers(
        written(
            tmp_path,
            {
                "time": {"command": "uvx", "args": ["mcp-server-time", "--zone=${ZONE:-UTC}"], "trusted": True},
                "off": {"command": "x", "disabled": True},
                "notes": {
                    "type": "http",
                    "url": "https://example.org/mcp",
                    "headers": {"Authorization": "Bearer ${env:NOTES_TOKEN}"},
                    "effects": {"search": "read"},
                    "timeout_s": 5,
                },
            },
        )
    )
    time, notes = servers
    assert time == Stdio("time", "uvx", ["mcp-server-time", "--zone=UTC"], {}, [], trusted=True)
    assert isinstance(notes, Http) and notes.headers == {"Authorization": "Bearer very-secret-9"}
    assert (notes.effects, notes.timeout_s, notes.trusted) == ({"search": "read"}, 5, False)
    assert "very-secret-9" not in repr(notes)
    assert redact("it is very-secret-9") == "it is [Authorization]"


def test_the_other_key_and_keys_of_other_programs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    (server,) = load_servers(written(tmp_path, {"a": {"command": "x", "alwaysAllow": ["y"]}}, "servers"))
    assert server == Stdio("a", "x", [], {}, [])
    assert "keys that are not known here: alwaysAllow" in caplog.text


@pytest.mark.parametrize(
    ("servers", "why"),
    [
        ({"a": {}}, "MCP server 'a' needs either a command or a url"),
        ({"a": {"command": "x", "url": "http://x"}}, "needs either"),
        ({"a": {"command": "x", "type": "http"}}, "has a command and the type 'http'"),
        ({"a": {"url": "http://x", "type": "sse"}}, "has a url and the type 'sse'"),
        ({"a": {"url": "http://x", "type": "stdio"}}, "has a url and the type 'stdio'"),
        ({"a": {"url": "nowhere"}}, "has the URL 'nowhere'"),
        ({"a": {"command": ["x"]}}, "command: Input should be a valid string"),
        ({"a": {"command": "x", "effects": {"t": "reed"}}}, "effects.t: Input should be"),
        ({"a": "x"}, "the entry: Input should be"),
        ({"a": {"command": "${NOT_SET_ANYWHERE}"}}, "names the variable NOT_SET_ANYWHERE, which is not set"),
        ([], "has no object 'mcpServers'"),
    ],
)
def test_mistakes_are_told_with_their_place(servers: Any, why: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=why) as error:
        load_servers(written(tmp_path, servers))
    assert "mcp.json" in str(error.value) or "nowhere" in why


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        load_servers(tmp_path / "gone.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(UsageError, match="is no JSON"):
        load_servers(tmp_path / "broken.json")
