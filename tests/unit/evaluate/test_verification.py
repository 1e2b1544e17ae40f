"""Verification against scikit-learn's curve."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from udfs.kernels.evaluate.verification import FPR, verify_tracks


@given(st.integers(0, 1000), st.integers(3, 40))
def test_verification_is_scikit_learns_roc(seed, tracks):
    rng = np.random.default_rng(seed)
    x = rng.choice([-1.0, 0.0, 1.0], size=(tracks, 3)) + 0.5  # many equal scores
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    label = rng.integers(0, 3, tracks)
    a, b = np.triu_indices(tracks, 1)
    same, cosine = label[a] == label[b], np.round((x @ x.T)[a, b], 9)
    found = verify_tracks(x, label)
    if same.all() or not same.any():
        assert all(math.isnan(value) for value in found.values())
        return
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(same, cosine), abs=1e-12)
    false, hits, _ = metrics.roc_curve(same, cosine, drop_intermediate=False)
    for fpr in FPR:
        assert found[f"tpr_at_fpr_{fpr:g}"] == pytest.approx(np.interp(fpr, false, hits), abs=1e-12)
    again = verify_tracks(np.concatenate([x, np.ones((tracks, 1))], axis=1) / math.sqrt(2), label)  # a monotone map
    assert again == pytest.approx(found)
