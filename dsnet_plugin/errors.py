"""The errors of the plug-in. Each message says what was seen, what was expected, and what to do."""


class DSNetError(Exception):
    """Base class of every error that this project raises on purpose."""


class ConfigError(DSNetError, ValueError):
    """A setting has a value or a name that it cannot have."""


class ShapeError(DSNetError, ValueError):
    """A tensor has a shape, a length or a range that does not fit the others."""


class NeutralReferenceError(DSNetError, ValueError):
    """A neutral reference is needed and is not there."""


class CheckpointError(DSNetError, ValueError):
    """A saved head, model or training state cannot be read, or belongs to something else."""


class PrecisionError(DSNetError, FloatingPointError):
    """Features left the range of their number format."""


class HeadNotFoundError(DSNetError, LookupError):
    """A model's classifier cannot be told, or there is none of the name given."""


class WrapError(DSNetError, RuntimeError):
    """A model is wrapped, stripped or used in a way that its state does not allow."""
