"""Arguments that the metrics share: what is refused, and in which words."""

import numpy as np
import pytest

from skensemble.metrics import (
    disagreement_score,
    error_correlation,
    mean_set_size,
    residual_correlation,
    set_coverage_score,
)
from skensemble.metrics._arguments import check_shares, check_weights, encode, over_rows

SETS = np.eye(2, dtype=bool)


def test_weights_sum_to_one_however_large_they_are():
    np.testing.assert_allclose(check_shares("weights", [1e308, 1e308, 0], 3), [0.5, 0.5, 0])
    np.testing.assert_allclose(check_shares("weights", None, 4), 0.25)
    np.testing.assert_allclose(check_shares("weights", np.array([[1], [3]]), 2), [0.25, 0.75])


def test_counts_stay_as_they_are():
    assert check_weights("sample_weight", [3, 0, 7], 3).tolist() == [3, 0, 7]
    assert check_weights("sample_weight", None, 3).tolist() == [1, 1, 1]


@pytest.mark.parametrize("weight", [[0, 0], [-1, 2]])
def test_weights_without_a_sum_are_refused(weight):
    with pytest.raises(ValueError, match=r"Got sample_weight=\[.*\], but expected numbers of at"):
        mean_set_size(SETS, sample_weight=weight)


def test_weights_of_another_length_are_refused():
    with pytest.raises(ValueError, match="Got sample_weight of length 3, but expected 2"):
        mean_set_size(SETS, sample_weight=[1, 1, 1])
    with pytest.raises(ValueError, match="NaN"):
        mean_set_size(SETS, sample_weight=[1, np.nan])


def test_classes_go_by_the_order_of_labels():
    codes, classes = encode(["b", "c", "b"], ["c", "b", "a"], 3)
    assert codes.tolist() == [1, 0, 1]
    assert classes.tolist() == ["c", "b", "a"]
    assert encode(np.array([7, 3, 7], object), None, 2)[0].tolist() == [1, 0, 1]


def test_classes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"Got y_true with 1 classes, but expected 2, .* labels="):
        set_coverage_score(["a", "a"], SETS)
    with pytest.raises(ValueError, match="Got labels with 3 classes, but expected 2"):
        set_coverage_score(["a", "a"], SETS, labels=["a", "b", "c"])
    with pytest.raises(ValueError, match=r"Got labels=\['a', 'a'\], but expected each class once"):
        set_coverage_score(["a", "a"], SETS, labels=["a", "a"])
    for other in ("c", "0"):
        with pytest.raises(ValueError, match=f"Got y_true with '{other}', but expected classes"):
            set_coverage_score(["a", other], SETS, labels=["a", "b"])


def test_numbers_are_no_names_of_classes():
    with pytest.raises(ValueError, match=r"Got y_true with 0, but expected classes of labels"):
        set_coverage_score([0, 1], SETS, labels=["a", "b"])
    with pytest.raises(ValueError, match=r"Got members with 0, but expected labels .* such as 'a'"):
        error_correlation(["a", "b"], [[0, 1], [0, 0]])


def test_members_of_another_shape_are_named():
    with pytest.raises(
        ValueError, match=r"Got members of shape \(1, 2\), but expected .*\(n_m.*3\)"
    ):
        residual_correlation([1.0, 2, 3], [[1.0, 2]])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        error_correlation([0, 1, 1], [[0, 1]])
    with pytest.raises(ValueError, match=r"expected \(n_members, 1, 2\): the shape of y_true"):
        error_correlation([[0, 1]], [[0, 1]])
    with pytest.raises(ValueError, match=r"Got y_true of shape \(1, 2\), but expected classes"):
        error_correlation([[0, 2]], [[[0, 1]]])
    with pytest.raises(ValueError, match=r"whose last axis sums to 1; give several labels as"):
        disagreement_score(np.full((2, 3, 2), 0.9))
    with pytest.raises(
        ValueError, match=r"Got y_true of shape \(1, 1, 1\), but expected 1 or 2 axes"
    ):
        residual_correlation([[[1.0]]], [[1.0]])


def test_probabilities_of_float32_and_float16_are_taken():
    p = np.random.default_rng(0).dirichlet(np.ones(50), (3, 40))
    expected = disagreement_score(p)
    assert disagreement_score(p.astype(np.float32)) == expected
    assert 0 <= disagreement_score(p.astype(np.float16)) <= 1


def test_rows_without_weight_may_be_infinite():
    assert over_rows(np.array([1.0, np.inf]), np.array([1.0, 0.0])) == 1
