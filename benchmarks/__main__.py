"""``dsnet`` and ``python -m benchmarks``: starts the command line, or says which extra it lacks."""

import sys

from benchmarks.commands.stopping import SignalWatch, stop_line


def main() -> None:
    """Runs the command line; every refused input is one line on standard error and exit status 2, a signal one, too."""
    watch = SignalWatch()
    status = 1
    try:
        status = _run()
    except BaseException:
        if watch.received is None:
            raise
    finally:
        watch.rest()
    if watch.received is not None:
        print(stop_line(watch.received), file=sys.stderr)
        status = 128 + watch.received
    sys.exit(status)


def _run() -> int:
    try:
        from benchmarks.commands.app import run_app
    except ModuleNotFoundError as error:
        print(f"dsnet: {error.name} is not installed; pip install 'dsnet_plugin[benchmarks]'", file=sys.stderr)
        return 2
    return run_app()


if __name__ == "__main__":
    main()
