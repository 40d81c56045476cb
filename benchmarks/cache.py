"""Where this project keeps what it can compute again: features and the synthetic corpus."""

import os
from pathlib import Path


def cache_root() -> Path:
    """``$DSNET_CACHE``, or ``~/.cache/dsnet``; safe to delete at any time."""
    return Path(os.environ.get("DSNET_CACHE") or Path.home() / ".cache" / "dsnet")
