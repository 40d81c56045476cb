"""Ctrl-C and SIGTERM, at whatever moment they come, end the command line in one line and with the status that shells expect."""

import os
import signal
import sys
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PATIENCE = 1.0
"""Seconds between two looks whether the end is under way."""


class Stopped(BaseException):
    """A signal asks the process to end. It is no KeyboardInterrupt, which Typer would answer in its own way."""


class SignalWatch:
    """Makes the first signal raise :class:`Stopped` in the main thread, and a second one end the process at once.

    Signals that the parent process ignores, as ``nohup`` does, stay ignored. An exception that is raised inside a destructor, or in
    a package that catches all, gets lost there; so it is raised again, until :meth:`rest`, whenever none is on its way.
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
        if hasattr(signal, "setitimer"):  # not on Windows
            signal.signal(signal.SIGALRM, self._again)
            signal.setitimer(signal.ITIMER_REAL, _PATIENCE, _PATIENCE)
        raise Stopped(number)

    def _again(self, _number: int, _frame: FrameType | None) -> None:
        # What cleans up after the exception, however long, has it as the one that is being handled, or as its context.
        error = sys.exc_info()[1]
        while error is not None:
            if isinstance(error, Stopped):
                return
            error = error.__context__
        raise Stopped(self.received)

    def rest(self) -> None:
        """Raises nothing any more."""
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)


def stop_line(number: int) -> str:
    """What is said of the end by a signal."""
    name = signal.Signals(number).name
    return f"dsnet: stopped by {name}; what is finished is on disk, and the same command goes on"
