"""The models behind `VoiceModel`."""
