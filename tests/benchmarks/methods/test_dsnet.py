"""DSNet: what of it runs in inference."""

import pytest
import torch
from torch import nn

from backbones import FeatureEncoder
from benchmarks.methods import DSNet


@pytest.mark.parametrize("narrow_to", [None, 32])
def test_the_modules_of_inference_in_a_row_are_the_model(narrow_to):
    torch.manual_seed(0)
    method = DSNet(FeatureEncoder(1, 16), 4, narrow_to=narrow_to).eval()
    x = torch.randn(3, 1, 16)
    assert torch.allclose(nn.Sequential(*method.inference_modules())(x), method(x), atol=1e-6)
