"""The separate encoder that DSC and ISNet read neutral speech with."""

import copy
from typing import Any


def second_encoder(encoder: Any) -> Any:
    """Another encoder of the same architecture, with weights of its own.

    One that has ``reset_parameters`` (the paper's CNN) is drawn anew. Any other is a copy and starts where ``encoder``
    does [R]: that is right for pretrained weights, and only they are worth having there.
    """
    second = copy.deepcopy(encoder)
    if hasattr(second, "reset_parameters"):
        second.reset_parameters()
    return second
