"""`search_documents` as an agent calls it, and `sayso documents`."""

import json
import os
import threading

import pytest
from typer.testing import CliRunner

from sayso import Agent
from sayso.cli_documents import documents_app
from sayso.errors import SaysoError, ToolError, UsageError
from sayso.testing import ScriptedModel, call, say
from sayso.tools.builtin.search_documents import documents_tool, search_documents
from sayso.tools.documents import DocumentIndex
from sayso.tools.documents import index as index_module
from sayso.tools.documents.live import LiveIndex


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A handbook, in a cache of its own without any model."""
    monkeypatch.setenv("SAYSO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SAYSO_DOCUMENTS", raising=False)
    index_module._only_minilm.cache_clear()
    root = tmp_path / "handbook"
    root.mkdir()
    (root / "returns.md").write_text("# Handbook\n\n## Returns\n\nGoods come back in thirty days.\n")
    (root / "hours.txt").write_text("We open at nine and close at six.")
    yield root
    index_module._only_minilm.cache_clear()


def test_an_agent_answers_from_a_folder(folder):
    model = ScriptedModel(
        {"send it back": call("search_documents", query="when do goods come back")},
        {"Handbook, section Returns": say("Within thirty days.")},
    )
    agent = Agent(model=model, tools=[documents_tool(folder)])
    result = agent.ask_sync("How long can I send it back?", speak=False)
    assert result.text == "Within thirty days."
    shown = str(model.requests[-1].items[-1])
    assert "Goods come back in thirty days." in shown
    assert str(folder) not in shown  # where files lie is the app's business
    assert '"returns.md"' in result.calls[0].output


def test_the_built_in_tool_takes_its_folders_from_the_setting(folder, monkeypatch):
    with pytest.raises(ToolError, match="No documents are set up"):
        search_documents("returns")
    monkeypatch.setenv("SAYSO_DOCUMENTS", os.pathsep.join([str(folder), str(folder)]))
    found = search_documents("when do you open")
    assert [(one.source, one.passage) for one in found.results] == [("hours", "We open at nine and close at six.")]
    assert found.note == ""


def test_nothing_found_is_said(folder):
    found = documents_tool(folder)("unicorns")
    assert (found.results, found.note) == ([], "Nothing in the documents fits.")
    with pytest.raises(ToolError, match="query is empty"):
        documents_tool(folder)("  ")


def test_both_tools_declare_what_they_are(folder):
    for tool in (search_documents, documents_tool(folder, name="search_contracts")):
        assert tool.effect.value == "read"
        assert tool.policy.untrusted
        assert list(tool.spec.parameters["properties"]) == ["query"]
    assert tool.name == "search_contracts"


def test_folders_or_an_index_are_needed(folder):
    for arguments in ({"index": DocumentIndex(folder)}, {}):
        with pytest.raises(UsageError, match="either folders or an index"):
            documents_tool(*([folder] if arguments else []), **arguments)


def test_a_folder_that_is_not_there_is_told_to_the_model(folder):
    with pytest.raises(ToolError, match=r"cannot be searched: .*nowhere is no folder"):
        documents_tool(folder / "nowhere")("anything")


def test_a_long_first_run_is_searched_while_it_goes_on(folder):
    for number in range(100):
        (folder / f"note {number:03}.txt").write_text(f"Number {number} is about subject{number}.")
    reached, go_on = threading.Event(), threading.Event()

    class Held(DocumentIndex):
        def update(self, progress=None):
            def hold(at):
                progress(at)
                if at.done == 64:
                    reached.set()
                    go_on.wait(30)

            return super().update(hold)

    live = LiveIndex(Held(folder))
    live._look()
    assert reached.wait(30)
    found, note = live.search("subject5", 3)
    assert len(found.passages) == 1
    assert note == "The documents are still being read (64 of 102); more may be found later."
    go_on.set()
    live.wait()
    assert live.search("subject99", 3)[1] == ""


def test_changes_are_seen_at_the_next_look(folder, caplog):
    live = LiveIndex(DocumentIndex(folder), refresh_s=0)
    live.search("goods", 3)
    live.wait()
    (folder / "parking.txt").write_text("Parking is free.")
    (folder / "broken.pdf").write_bytes(b"broken")
    live.search("parking", 3)
    live.wait()
    assert len(live.search("parking", 3)[0].passages) == 1
    live.wait()
    messages = [record.getMessage() for record in caplog.records]
    assert messages.count("broken.pdf is not in the index: broken PDF") == 1
    assert sum("by words alone" in message for message in messages) == 1
    still = LiveIndex(DocumentIndex(folder), refresh_s=None)
    (folder / "parking.txt").unlink()
    assert len(still.search("parking", 3)[0].passages) == 1


# --- the command line -----------------------------------------------------------------------------------------


def invoke(*arguments, code=0):
    result = CliRunner().invoke(documents_app, list(map(str, arguments)))
    if code:
        assert isinstance(result.exception, SaysoError)
        assert result.exception.exit_code == code
        return str(result.exception)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_index_search_and_list(folder):
    (folder / "broken.pdf").write_bytes(b"broken")
    said = CliRunner().invoke(documents_app, ["index", str(folder), "--name", "shop"])
    assert "shop: 2 documents, 2 passages, 0 of them with meaning." in said.stdout
    assert "2 new (0 of them moved), 0 changed, 0 removed, 0 unchanged" in said.stdout
    assert "1 left out:\n  broken.pdf: broken PDF" in said.stderr
    assert "sayso models pull minilm" in said.stderr
    assert "1. Handbook, section Returns  (returns.md)\n   Goods come back" in invoke("search", "goods")
    assert "Nothing in the documents fits." in invoke("search", "unicorns")
    assert "shop" in invoke("list")


def test_everything_as_json(folder):
    report = json.loads(invoke("index", folder, "--json"))
    assert (report["added"], report["skipped"]) == (2, [])
    (found,) = json.loads(invoke("search", "goods", "--count", 1, "--json"))
    assert (found["source"], found["path"], found["page"]) == ("Handbook, section Returns", "returns.md", None)
    (status,) = json.loads(invoke("list", "--json"))
    assert (status["name"], status["documents"], status["embedded"]) == (report["name"], 2, 0)


def test_mistakes_are_explained(folder, monkeypatch):
    assert "There are no indexes yet." in invoke("list")
    assert "There are no indexes yet. Make one" in invoke("search", "x", code=2)
    assert "is no folder" in invoke("index", folder / "nowhere", code=2)
    assert "no name for an index" in invoke("index", folder, "--name", "a/b", code=2)
    invoke("index", folder, "--name", "one")
    invoke("index", folder, "--name", "two")
    assert "There are 2 indexes: one, two. Choose one with --name." in invoke("search", "x", code=2)
    assert "no index of documents 'three'; there are: one, two" in invoke("search", "x", "--name", "three", code=2)
    monkeypatch.setenv("SAYSO_DOCUMENTS", str(folder))
    assert "no index of documents 'handbook-" in invoke("search", "x", code=2)
    invoke("index", folder)
    assert "hours" in invoke("search", "when do you open")
