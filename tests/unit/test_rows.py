"""Rows of embeddings as matrices."""

import numpy as np
import pandas as pd

from udfs.kernels.rows import fill_gaps, stack_rows


def test_stacked():
    assert stack_rows(pd.Series([], dtype=object)).shape == (0, 1)
    rows = stack_rows(pd.Series([[1.0, 2.0], np.array([3, 4])]))
    assert rows.dtype == np.float32
    assert rows.tolist() == [[1, 2], [3, 4]]


def test_rows_with_gaps():
    whole = fill_gaps(np.array([[1, 2], [3, 4]], np.float32), np.array([True, False, True]))
    assert whole[[0, 2]].tolist() == [[1, 2], [3, 4]]
    assert np.isnan(whole[1]).all()
    assert fill_gaps(np.zeros((0, 1), np.float32), np.zeros(0, bool)).shape == (0, 1)
