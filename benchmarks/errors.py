"""The errors of the benchmark suite; the command line prints each as one line and exits with status 2."""

from dsnet_plugin import DSNetError


class CorpusError(DSNetError, ValueError):
    """A corpus folder, a label file or a manifest is not what its name promises."""


class AudioError(DSNetError, ValueError):
    """An audio file cannot be read or holds no sound."""


class SplitError(DSNetError, ValueError):
    """A fold cannot be made, or would put a speaker on two sides."""


class RunError(DSNetError, ValueError):
    """A run cannot start or continue as asked."""


class LostWorkerError(DSNetError, RuntimeError):
    """The process that computed something died, by more than one attempt."""


class FetchError(DSNetError, OSError):
    """A corpus cannot be downloaded, or what came is not what its source published."""
