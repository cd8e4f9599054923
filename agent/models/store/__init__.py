"""The model store: artefacts named in a manifest, fetched from whoever has them, trusted by their SHA-256.

Example:
    store = Store()
    store.pull(["whisper-tiny.en"])
    folder = store.path("whisper-tiny.en")
"""

from sayso.models.store.files import DiskFullError
from sayso.models.store.hub import Hub
from sayso.models.store.hub_listing import CHECKPOINTS, Checkpoint, find_checkpoint
from sayso.models.store.installed import FileCheck
from sayso.models.store.manifest import Artefact, File, load_manifest, parse_manifest
from sayso.models.store.progress import Bars, Lines, Progress, Silent, terminal_progress
from sayso.models.store.store import Report, State, Status, Store

__all__ = [
    "CHECKPOINTS",
    "Artefact",
    "Bars",
    "Checkpoint",
    "DiskFullError",
    "File",
    "FileCheck",
    "Hub",
    "Lines",
    "Progress",
    "Report",
    "Silent",
    "State",
    "Status",
    "Store",
    "find_checkpoint",
    "load_manifest",
    "parse_manifest",
    "terminal_progress",
]
