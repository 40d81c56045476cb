"""Where this project keeps what it can make or download again: features, the synthetic corpus, open corpora."""

import os
from pathlib import Path


def cache_root() -> Path:
    """``$DSNET_CACHE``, or ``~/.cache/dsnet``; safe to delete at any time."""
    return Path(os.environ.get("DSNET_CACHE") or Path.home() / ".cache" / "dsnet")
