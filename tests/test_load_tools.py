"""A user's file of tools: what is found in it, and what is said when it is broken."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent

import pytest

from sayso.errors import ToolDefinitionError
from sayso.tools import load_tools

TOOL = '''
from sayso import tool

@tool(effect="read")
def opening_hours(shop: str) -> str:
    """When a shop is open."""
    return f"{shop}: 9 to 5"
'''


def write(folder: Path, text: str, name: str = "tools.py") -> Path:
    file = folder / name
    file.write_text(dedent(text), encoding="utf-8")
    return file


def broken(file: Path) -> str:
    before = set(sys.modules), list(sys.path)
    with pytest.raises(ToolDefinitionError) as caught:
        load_tools(file)
    assert (set(sys.modules), sys.path) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_tool_of_the_module_in_order(tmp_path: Path) -> None:
    imported = "from sayso.tools.builtin import calculate\n"
    more = '\n@tool\nasync def close(shop: str) -> None:\n    """Close a shop."""\n\nsame = close\n'
    tools = load_tools(write(tmp_path, imported + TOOL + more))
    assert [made.name for made in tools] == ["calculate", "opening_hours", "close"]
    assert tools[1]("Corner") == "Corner: 9 to 5"


def test_a_list_named_tools_is_taken_as_it_is(tmp_path: Path) -> None:
    tools = load_tools(
        str(write(tmp_path, TOOL + "\nfrom sayso.tools.builtin import calculate\nTOOLS = [opening_hours]\n"))
    )
    assert [made.name for made in tools] == ["opening_hours"]


def test_types_of_the_module_and_its_neighbours_are_found(tmp_path: Path) -> None:
    write(tmp_path, "from enum import Enum\nclass Day(Enum):\n    today = 'today'\n", "calendar_of_shop.py")
    text = '''
    from __future__ import annotations
    from pydantic import BaseModel
    from calendar_of_shop import Day
    from sayso import tool

    class Shop(BaseModel):
        name: str

    @tool
    def hours(shop: Shop, day: Day = Day.today) -> str:
        """Hours."""
        return shop.name
    '''
    (hours,) = load_tools(write(tmp_path, text))
    assert hours.spec.parameters["properties"]["day"]["enum"] == ["today"]
    del sys.modules["calendar_of_shop"]


def test_two_files_of_one_name_do_not_collide(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = load_tools(write(tmp_path / "a", TOOL))
    second = load_tools(write(tmp_path / "b", TOOL.replace("9 to 5", "closed")))
    assert (first[0]("x"), second[0]("x")) == ("x: 9 to 5", "x: closed")


@pytest.mark.parametrize(
    ("text", "line", "cause"),
    [
        ("x = 1\ny = = 2\n", 2, "SyntaxError: invalid syntax"),
        ("\n\nimport no_such_module_anywhere\n", 3, "ModuleNotFoundError: No module named 'no_such_module_anywhere'"),
        ("def f():\n    return 1 / 0\n\nf()\n", 2, "ZeroDivisionError: division by zero"),
        ("raise ValueError\n", 1, "ValueError"),
        ("import sys\nsys.exit(3)\n", 2, "SystemExit: 3"),
        ("raise ValueError('first\\nsecond')\n", 1, "ValueError: first"),
        (TOOL + "\n@tool\ndef bad(x):\n    '''Bad.'''\n", 9, "parameter 'x' of tool 'bad' has no type"),
        (TOOL + "\n@tool(effect='nuke')\ndef bad():\n    '''Bad.'''\n", 9, "tool 'bad' has effect 'nuke'"),
    ],
)
def test_a_broken_module_is_one_error_with_file_line_and_cause(
    tmp_path: Path, text: str, line: int, cause: str
) -> None:
    file = write(tmp_path, text)
    assert f"{file}:{line}: {cause}" in broken(file)


def test_two_tools_of_one_name_are_both_placed(tmp_path: Path) -> None:
    file = write(tmp_path, TOOL + '\n@tool(name="opening_hours")\ndef other() -> None:\n    """Other."""\n')
    assert f"Two tools are named 'opening_hours': {file}:4 and {file}:9" in broken_but_loaded(file)


def test_what_cannot_be_loaded(tmp_path: Path) -> None:
    assert "does not exist" in broken(tmp_path / "none.py")
    assert "is no Python file" in broken(tmp_path)
    assert "is no Python file" in broken(write(tmp_path, "", "tools.txt"))
    assert "defines no tools" in broken_but_loaded(write(tmp_path, "x = 1\n", "empty.py"))
    assert "is not a tool" in broken_but_loaded(write(tmp_path, "TOOLS = [len]\n", "plain.py"))
    assert "Make it a list" in broken_but_loaded(write(tmp_path, "TOOLS = len\n", "single.py"))


def broken_but_loaded(file: Path) -> str:
    with pytest.raises(ToolDefinitionError) as caught:
        load_tools(file)
    return str(caught.value)
