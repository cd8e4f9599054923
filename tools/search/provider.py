"""`Provider`: something that can be asked for pages about a question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sayso.errors import SaysoError
from sayso.http import Answer, host


class SearchError(SaysoError):
    """A provider gave no answer. The message is a clause for the model: "SearXNG wants another key"."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A page that a provider found, as it describes it; `sayso.tools.search.clean` makes it fit for speech.

    Attributes:
        title: May hold tags and entities.
        url: Where it is; empty for a document that has no address.
        passage: A few sentences of it or about it; may hold tags, entities and ellipses.
        date: When it was published, in any form that `sayso.tools.search.dates` reads; or empty.
        site: Who publishes it, where the provider says; else it is taken from the address.
    """

    title: str
    url: str
    passage: str
    date: str = ""
    site: str = ""


class Provider(Protocol):
    """One place to ask."""

    @property
    def name(self) -> str:
        """As it is told to the user where it fails."""
        ...

    @property
    def offline(self) -> bool:
        """Whether it searches on this machine and finds nothing of the web."""
        ...

    async def search(self, query: str, count: int, region: str, language: str) -> Sequence[Hit]:
        """Pages about ``query``, best first; empty where there are none.

        Args:
            query: At most 300 characters.
            count: How many are wanted; more or fewer may come.
            region: Two letters (ISO 3166-1), lower case: ``us``.
            language: Two letters (ISO 639-1), lower case: ``en``.

        Raises:
            SearchError: It cannot be asked, or its answer makes no sense.
            NetworkError: It did not answer.
        """
        ...


def check_status(answer: Answer, name: str) -> None:
    """Refuse an answer that is no success.

    Raises:
        SearchError: In words that a user can do something with.
    """
    if answer.status == 200:
        return
    reasons = {
        401: "does not accept the key",
        402: "wants a payment",
        403: "does not let us in",
        404: "is not at this address",
        422: "did not understand the request",
        429: "says that there were too many searches",
        432: "says that the plan's limit is reached",
        433: "says that the plan's limit is reached",
    }
    raise SearchError(f"{name} {reasons.get(answer.status, f'answered with HTTP status {answer.status}')}")


def rows(answer: Answer, *path: str) -> list[dict[str, object]]:
    """The objects in the list at ``path`` of a JSON answer; what is no object in it is left out.

    A missing list at the end of the path is an empty one.

    Raises:
        SearchError: The answer is no JSON object, or something else than a list is there.
    """
    from sayso.http import NetworkError

    try:
        found = answer.json()
    except NetworkError:
        found = None
    for key in path:
        if not isinstance(found, dict):
            raise SearchError(f"the answer of {host(answer.url)} makes no sense")
        found = found.get(key, [] if key == path[-1] else {})
    if not isinstance(found, list):
        raise SearchError(f"the answer of {host(answer.url)} makes no sense")
    return [row for row in found if isinstance(row, dict)]


def text_of(row: dict[str, object], key: str) -> str:
    """The string at ``key``, or an empty one where there is none."""
    value = row.get(key)
    return value if isinstance(value, str) else ""
