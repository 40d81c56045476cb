"""Ctrl-C and SIGTERM, at whatever moment they come, end the command line in one line and with the status that shells expect."""

import os
import signal
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """A signal asks the process to end. It is no KeyboardInterrupt, which Typer would answer in its own way."""


class SignalWatch:
    """Makes the first signal raise :class:`Stopped` in the main thread, and a second one end the process at once.

    Signals that the parent process ignores, as ``nohup`` does, stay ignored.
    """

    received: int | None = None
    """The signal that came. It counts whatever became of the exception: some packages turn any into one of theirs."""

    def __init__(self) -> None:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._stop)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        if self.received is not None:
            os._exit(128 + number)
        self.received = number
        raise Stopped(number)


def stop_line(number: int) -> str:
    """What is said of the end by a signal."""
    name = signal.Signals(number).name
    return f"dsnet: stopped by {name}; what is finished is on disk, and the same command goes on"
