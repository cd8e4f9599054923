"""What the model hub has of a checkpoint, asked through its own library; and that library's errors in our words."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

from sayso.errors import ModelMissingError, ModelStoreError, SaysoError
from sayso.models.store.manifest import File

AGAIN: Final = "Run the same again: what was fetched is kept."
WANTED: Final = (
    "config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "vocab.json",
    "merges.txt",
    "tokenizer*.json",
    "added_tokens.json",
    "special_tokens_map.json",
    "token2wav/*",
    "assets/default_*.wav",
    "LICENSE*",
)
"""Of a repository; its code is not needed."""
NEEDED: Final = ("config.json", "vocab.json", "token2wav/flow.pt", "token2wav/hift.pt")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A repository of the hub.

    Attributes:
        name: What it is called here.
        repo: What it is called there.
        purpose: What it is for, in a few words.
        size: Of its files, in bytes; about, for whoever wants to know before anything is asked.
        revision: A commit, or a branch whose head is taken at the time.
        licence: SPDX identifier.
        also: Artefacts that are fetched with it.
    """

    name: str
    repo: str
    purpose: str
    size: int = 17_900_000_000
    revision: str = "main"
    licence: str = "Apache-2.0"
    also: tuple[str, ...] = ("step-audio-voices",)
    default: bool = False
    small: bool = False

    @property
    def upstream(self) -> str:
        """Who made it."""
        return self.repo


CHECKPOINTS: Final = (
    Checkpoint("step-audio-2-mini", "stepfun-ai/Step-Audio-2-mini", "hears, thinks, calls and speaks; wants a GPU"),
    Checkpoint("step-audio-2-mini-think", "stepfun-ai/Step-Audio-2-mini-Think", "the same; thinks before it answers"),
    Checkpoint("step-audio-2-mini-base", "stepfun-ai/Step-Audio-2-mini-Base", "the same before it learnt to chat"),
)


def find_checkpoint(name: str) -> Checkpoint | None:
    """The checkpoint called ``name``, here or on the hub."""
    wanted = name.casefold()
    return next((one for one in CHECKPOINTS if wanted in (one.name, one.repo.casefold())), None)


@dataclass(frozen=True, slots=True)
class Listed:
    """What the hub says of a file: ``sha256`` of a large one; ``git_sha1`` of a small one, as git counts it."""

    size: int
    sha256: str
    git_sha1: str


def list_files(checkpoint: Checkpoint, endpoint: str | None) -> tuple[str, dict[str, Listed]]:
    """The commit, and the files that are wanted of it, by path.

    Raises:
        ModelMissingError: The library is not installed.
        ModelStoreError: The hub cannot be reached, does not have it, or has something else under that name.
    """
    try:
        from huggingface_hub import HfApi
    except ModuleNotFoundError as error:
        raise ModelMissingError(
            "The hub's library huggingface_hub is not installed.", "Install it with: pip install 'sayso[step-audio]'"
        ) from error
    with hub_errors(checkpoint):
        api = HfApi(endpoint=endpoint, library_name="sayso")
        info = api.model_info(checkpoint.repo, revision=checkpoint.revision, files_metadata=True)
    listed: dict[str, Listed] = {}
    for one in info.siblings or []:
        if any(fnmatch(one.rfilename, pattern) for pattern in WANTED):
            sha256 = "" if one.lfs is None else str(one.lfs.sha256)
            try:
                path = File(one.rfilename, one.size or 0, sha256).path
            except ValueError as error:
                raise ModelStoreError(f"The hub's {checkpoint.repo} names a strange file: {error}.") from error
            listed[path] = Listed(one.size or 0, sha256, str(one.blob_id or ""))
    missing = [path for path in NEEDED if path not in listed] or ([] if info.sha else ["commit"])
    if missing or not info.sha:
        raise ModelStoreError(
            f"The hub's {checkpoint.repo} is no checkpoint of Step-Audio 2: it has no {', '.join(missing)}.",
            "Is HF_ENDPOINT the address of a whole copy of the hub?",
        )
    return info.sha, listed


def fetch_small(checkpoint: Checkpoint, commit: str, paths: list[str], folder: Path, endpoint: str | None) -> None:
    """Have these files of a commit in ``folder``.

    Raises:
        ModelStoreError: The hub cannot be reached or does not have them.
    """
    import huggingface_hub

    library: Any = huggingface_hub
    with hub_errors(checkpoint), no_bars():
        library.snapshot_download(
            checkpoint.repo,
            revision=commit,
            local_dir=folder,
            allow_patterns=paths,
            endpoint=endpoint,
            library_name="sayso",
        )


def addresses(
    checkpoint: Checkpoint, commit: str, paths: list[str], endpoint: str | None
) -> list[tuple[str, Mapping[str, str]]]:
    """Where each file of a commit is, and what to send along: the library's own, with the user's token."""
    from huggingface_hub import hf_hub_url, utils

    library: Any = utils
    headers: dict[str, str] = library.build_hf_headers(library_name="sayso")
    return [(hf_hub_url(checkpoint.repo, path, revision=commit, endpoint=endpoint), headers) for path in paths]


@contextmanager
def hub_errors(checkpoint: Checkpoint) -> Generator[None]:
    """The library's errors in our words; theirs may hold addresses with credentials in them."""
    from huggingface_hub import errors

    try:
        yield
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise ModelStoreError(
            f"The hub has no {checkpoint.repo} ({checkpoint.revision}), or shows it only to those it knows.",
            "Check HF_ENDPOINT, and HF_TOKEN if your copy of the hub asks for one.",
        ) from error
    except errors.HfHubHTTPError as error:
        raise ModelStoreError(f"The hub answered {error.response.status_code} for {checkpoint.repo}.", AGAIN) from error
    except errors.OfflineModeIsEnabled as error:
        raise ModelStoreError("HF_HUB_OFFLINE forbids to ask the hub.", "Unset it.") from error
    except OSError as error:
        if error.errno is not None:
            raise  # the disk's
        raise ModelStoreError(f"{checkpoint.repo} did not arrive whole ({type(error).__name__}).", AGAIN) from error
    except SaysoError:
        raise
    except Exception as error:  # its HTTP library's, which has changed before
        raise ModelStoreError(
            f"The hub cannot be reached or hung up ({type(error).__name__}).",
            "Is there a network? HF_ENDPOINT names another address of the hub. " + AGAIN,
        ) from error


@contextmanager
def no_bars() -> Generator[None]:
    """The library draws no bars of its own inside."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    before = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            enable_progress_bars()
