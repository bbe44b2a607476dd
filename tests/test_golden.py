"""Golden outputs: what no other test sees of a change of numerics shows here. Written anew by helpers/golden.py."""

import json

import numpy as np
import pytest

from helpers.golden import FILE, golden

STORED = json.loads(FILE.read_text())


@pytest.fixture(scope="module")
def measured(model, editor):
    return golden(model, editor)


def test_every_output_is_stored(measured):
    assert sorted(measured) == sorted(STORED)


@pytest.mark.parametrize("name", STORED)
def test_outputs_stay_what_they_were(measured, name):
    """Mean, standard deviation and ten values, all about within -1..1, CPU float32."""
    np.testing.assert_allclose(measured[name], STORED[name], rtol=0, atol=1e-3)
