"""A stream of soundfile's that is read from its start to its end."""

import soundfile


class SoundStream(soundfile.SoundFile):  # type: ignore[misc]
    """An audio file that is read from its start to its end.

    soundfile moves to where it already is after each block, which fails where a header names no length or a wrong one.
    """

    def seekable(self) -> bool:
        """Keeps soundfile from seeking by itself; ``seek`` works."""
        return False
