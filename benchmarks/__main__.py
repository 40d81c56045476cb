"""``dsnet`` and ``python -m benchmarks``: starts the command line, or says which extra it lacks."""

import sys


def main() -> None:
    """Runs the command line; every refused input is one line on standard error and exit status 2."""
    try:
        from benchmarks.commands.app import run_app
    except ModuleNotFoundError as error:
        print(f"dsnet: {error.name} is not installed; pip install 'dsnet_plugin[benchmarks]'", file=sys.stderr)
        sys.exit(2)
    sys.exit(run_app())


if __name__ == "__main__":
    main()
