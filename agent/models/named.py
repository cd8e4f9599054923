"""Models by name, for `sayso.agent.Agent.model` and settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from sayso.errors import ModelMissingError, UsageError
from sayso.models.base import VoiceModel

if TYPE_CHECKING:
    from sayso.models.step_audio2.config import Kind

STEP_AUDIO: Final = "step-audio-2-mini"
THINKING: Final = (f"{STEP_AUDIO}-think",)
"""Those that think before they answer."""
_KINDS: Final[dict[str, Kind | None]] = {  # None: what the folder's name says
    STEP_AUDIO: None,
    f"{STEP_AUDIO}-think": "think",
    f"{STEP_AUDIO}-base": "base",
}
NAMES: Final = ("embedded", "embedded-small", *_KINDS)


def named(name: str) -> VoiceModel:
    """The model called ``name``, or the one of the checkpoint folder ``name``; loaded when it is first asked.

    Args:
        name: One of `NAMES`, the path of a checkpoint of Step-Audio 2, or its name on the model hub: then the one that
            `sayso models pull` fetched.

    Raises:
        UsageError: There is no such model, or the folder is not that of a Step-Audio 2.
        ModelMissingError: Its files or packages are not here.
    """
    if name in ("embedded", "embedded-small"):
        from sayso.models.embedded import embedded_model

        return embedded_model(size="small" if name == "embedded-small" else "default")
    folder = Path(name).expanduser()
    if name in _KINDS or not folder.exists():
        from sayso.models.store import Hub, find_checkpoint

        if (checkpoint := find_checkpoint(name)) is not None:
            return _step_audio(Hub().path(checkpoint), _KINDS[checkpoint.name])
    if folder.exists() or len(folder.parts) > 1:
        return _step_audio(folder)
    raise UsageError(
        f"There is no model {name!r}.", f"Models are: {', '.join(NAMES)}; or give the folder of a checkpoint."
    )


def _step_audio(folder: Path, kind: Kind | None = None) -> VoiceModel:
    from sayso.models.step_audio2.config import StepAudio2Config

    try:
        from sayso.models.step_audio2.loaded import Options
        from sayso.models.step_audio2.model import StepAudio2Model
    except ModuleNotFoundError as error:
        raise ModelMissingError(
            f"{STEP_AUDIO} needs the package {error.name}.", "Install it with: pip install 'sayso[step-audio]'"
        ) from error
    StepAudio2Config.read(folder)  # a folder that is none is told now, not when it is first asked
    return StepAudio2Model(Options(folder, kind=kind))
