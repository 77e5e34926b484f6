"""Columns centred, scaled, cut into pieces, and categories as columns of 0 and 1."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.preprocessing import OneHotEncoder

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble._data.encoder import TableEncoder


def scaled(X):
    """The numbers alone."""
    return TableEncoder(n_pieces=0).fit(X)


@pytest.fixture
def colours():
    """Codes of a common, a rare, another rare category, and missing ones."""
    codes = np.repeat([0.0, 1.0, 2.0, 3.0, np.nan], [300, 200, 4, 5, 20])
    return np.random.default_rng(0).permutation(codes)[:, None]


def test_weights_are_repeats(iris):
    X = iris[0][:30]
    weight = np.arange(30) % 4
    one = TableEncoder().fit(X, weight)
    two = TableEncoder().fit(np.repeat(X, weight, axis=0))
    np.testing.assert_array_equal(one.center_, two.center_)
    np.testing.assert_array_equal(one.scale_, two.scale_)
    np.testing.assert_array_equal(one.transform(X, float), two.transform(X, float))


@pytest.mark.parametrize("n_pieces", [3, 7, 16])
def test_weights_of_one_change_no_bit(digits, n_pieces):
    X, _ = digits
    one, two = (TableEncoder(n_pieces).fit(X, weight) for weight in (None, np.ones(len(X))))
    np.testing.assert_array_equal(one.transform(X, np.float32), two.transform(X, np.float32))


def test_center_is_the_median_of_numpy(diabetes):
    X, _ = diabetes
    expected = np.quantile(X, 0.5, axis=0, method="inverted_cdf")
    np.testing.assert_array_equal(TableEncoder().fit(X).center_, expected)


def test_pieces_are_a_linear_interpolation_between_quantiles(diabetes):
    X, _ = diabetes
    column = X[:, [2]]
    pieces = TableEncoder(n_pieces=8).fit(column).transform(column, float)[:, 1:]
    thresholds = np.quantile(column, np.linspace(0, 1, 9), method="inverted_cdf")
    assert pieces.shape[1] == 8
    assert pieces.min() >= 0
    assert pieces.max() <= 1
    np.testing.assert_allclose(
        pieces.sum(axis=1), np.interp(X[:, 2], thresholds, np.arange(9)), atol=1e-12
    )
    rises_in_turn = np.where(pieces[:, 1:] > 0, pieces[:, :-1], 1)
    np.testing.assert_allclose(rises_in_turn, 1)


def test_few_values_are_thresholds_all_of_them():
    column = np.repeat([0.0, 1.0, 5.0, 6.0], [500, 3, 2, 500])[:, None]
    Z = TableEncoder().fit(column).transform(np.array([[0.0], [1.0], [5.0], [6.0]]), float)
    np.testing.assert_allclose(Z[:, 1:], [[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]], atol=1e-12)


def test_frequent_values_stand_alone_and_the_others_have_quantiles(diabetes):
    """As capital gains do, nine of ten of which are zero: by quantiles they would be one piece."""
    others = np.abs(diabetes[0][:100, 2]) + 1
    column = np.concatenate([np.zeros(900), others])[:, None]
    encoder = TableEncoder().fit(column)
    cuts = np.quantile(others, [0, 0.25, 0.5, 0.75, 1], method="inverted_cdf")
    Z = encoder.transform(np.array([0, *cuts])[:, None], float)[:, 1:]
    np.testing.assert_allclose(Z, np.tri(6, 5, -1), atol=1e-12)
    weighted = np.concatenate([[0.0], others])[:, None]
    other = TableEncoder().fit(weighted, np.array([900, *np.ones(100)]))
    np.testing.assert_array_equal(other.transform(column, float), encoder.transform(column, float))


def test_frequent_values_make_no_table_wider_than_it_may_be():
    rng = np.random.default_rng(0)
    X = np.where(rng.random((4096, 200)) < 0.6, 0, rng.normal(size=(4096, 200)))
    assert TableEncoder().fit(X).n_outputs_ <= 1024


def test_wide_tables_have_fewer_pieces_and_the_widest_none():
    X = np.random.default_rng(0).normal(size=(2048, 600))
    assert TableEncoder(16).fit(X[:, :30]).n_outputs_ == 30 * 17
    assert TableEncoder(16).fit(X[:, :100]).n_outputs_ == 100 * 10
    assert TableEncoder(16).fit(X).n_outputs_ == 600


def test_few_rows_have_fewer_pieces():
    X = np.random.default_rng(0).normal(size=(400, 20))
    n_outputs = [TableEncoder().fit(X[:n]).n_outputs_ for n in (15, 32, 64, 200, 400)]
    assert n_outputs == [20, 20, 20, 20 * 5, 20 * 9]


def test_missing_numbers_are_the_median_and_said_to_be_missing(diabetes):
    X, _ = diabetes
    X = X.copy()
    X[::5, 2] = np.nan
    encoder = scaled(X)
    Z = encoder.transform(X, float)
    assert encoder.center_[2] == np.quantile(X[np.isfinite(X[:, 2]), 2], 0.5, method="inverted_cdf")
    np.testing.assert_array_equal(Z[:, -1], np.isnan(X[:, 2]))
    np.testing.assert_array_equal(Z[::5, 2], 0)
    assert Z.shape[1] == X.shape[1] + 1
    # Where fit saw none, they are the median and nothing else.
    X[0, 0] = np.nan
    assert encoder.transform(X[:1], float)[0, 0] == 0


def test_a_column_wholly_missing_is_no_reason_to_fail():
    X = np.column_stack([np.full(50, np.nan), np.arange(50.0)])
    assert np.isfinite(TableEncoder().fit(X).transform(X, float)).all()


def test_categories_are_the_columns_of_one_hot_encoder(colours):
    encoder = TableEncoder().fit(colours, is_categorical=np.array([True]))
    new = np.array([[0.0], [1.0], [2.0], [3.0], [np.nan], [-1.0]])
    expected = OneHotEncoder(min_frequency=10, handle_unknown="ignore", sparse_output=False)
    expected = expected.fit(colours).transform(new)
    # Its order: 0, 1, missing, then the rare ones.
    np.testing.assert_array_equal(encoder.transform(new, float), expected)


def test_each_output_knows_its_column(colours):
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=len(colours)), colours, rng.normal(size=len(colours))])
    X[::7, 2] = np.nan
    encoder = TableEncoder(n_pieces=3).fit(X, is_categorical=np.array([False, True, False]))
    start = encoder.transform(X, float)
    for column, place in ((0, 0), (2, 1), (1, 2)):  # numbers first
        other = X.copy()
        other[:, column] = rng.permutation(other[:, column])
        is_moved = (encoder.transform(other, float) != start).any(axis=0)
        np.testing.assert_array_equal(is_moved, encoder.origin_ == place)


def test_columns_of_categories_alone(colours):
    X = np.column_stack([colours, np.roll(colours, 1)])
    encoder = TableEncoder().fit(X, is_categorical=np.array([True, True]))
    n = encoder.n_outputs_ // 2
    np.testing.assert_array_equal(encoder.origin_, [0] * n + [1] * n)


def test_categories_beyond_the_most_frequent_are_one(colours):
    encoder = TableEncoder(max_categories=2).fit(colours, is_categorical=np.array([True]))
    Z = encoder.transform(np.array([[0.0], [1.0], [np.nan], [-1.0]]), float)
    np.testing.assert_array_equal(Z, [[1, 0], [0, 1], [0, 1], [0, 0]])


def test_rows_without_weight_are_as_if_absent(colours):
    weight = np.where(np.isnan(colours[:, 0]) | (colours[:, 0] == 1), 0.0, 1.0)
    is_categorical = np.array([True])
    one = TableEncoder().fit(colours, weight, is_categorical)
    two = TableEncoder().fit(colours[weight > 0], None, is_categorical)
    np.testing.assert_array_equal(one.transform(colours, float), two.transform(colours, float))
    assert not one.transform(np.array([[1.0], [np.nan]]), float).any()


def test_sparse_columns_are_the_same(digits):
    X, _ = digits
    sparse, dense = TableEncoder().fit(csr_matrix(X)), TableEncoder().fit(X)
    np.testing.assert_array_equal(sparse.transform(X, float), dense.transform(X, float))


def test_outliers_constants_and_huge_values_stay_finite_and_clipped():
    X = np.ones((50, 3))
    X[:, 0] = np.linspace(0, 1, 50)
    X[0, 0] = 1e300
    X[0, 1] = 1e-300
    Z = TableEncoder().fit(X).transform(X, np.float32)
    assert np.isfinite(Z).all()
    assert np.abs(Z).max() <= 3
    assert Z[0, 0] == pytest.approx(3)


def test_chunks_change_nothing(monkeypatch, digits):
    X, _ = digits
    whole = TableEncoder().fit(X).transform(X, np.float32)
    monkeypatch.setattr("skensemble._data.encoder._AT_ONCE", 9000)
    np.testing.assert_array_equal(whole, TableEncoder().fit(X).transform(X, np.float32))


def test_columns_are_centred_before_any_cast():
    """Rule 5: seconds within a time stamp of 1.7e9 are lost in float32."""
    rng = np.random.default_rng(0)
    seconds = rng.uniform(0, 60, 400)
    X = 1.7e9 + seconds[:, None]
    y = (seconds > 30).astype(int)
    model = SnapshotEnsembleClassifier(max_epochs=20, random_state=0).fit(X[:200], y[:200])
    assert model.score(X[200:], y[200:]) > 0.95


def test_a_column_of_mostly_one_value_is_scaled_by_its_range():
    X = np.zeros((50, 1))
    X[:3, 0] = [1000.0, -500.0, 200.0]
    encoder = TableEncoder().fit(X)
    assert (encoder.center_[0], encoder.scale_[0]) == (0.0, 750.0)


def test_a_category_of_rows_without_weight_is_none_and_no_error(colours):
    """The codes of later rows may be higher than those of the rows that count."""
    highest = np.where(colours == 3, 0.0, 1.0)[:, 0]
    encoder = TableEncoder().fit(colours, highest, np.array([True]))
    Z = encoder.transform(np.array([[0.0], [3.0], [np.nan]]), float)
    assert Z.sum(axis=1).tolist() == [1, 0, 1]


@pytest.mark.parametrize("unit", [0.01, 1000.0])
def test_the_unit_of_weights_merges_no_categories(colours, unit):
    is_categorical, new = np.array([True]), np.array([[0.0], [1.0], [2.0], [3.0], [np.nan]])
    weight = np.random.default_rng(0).uniform(0.8, 1.2, len(colours))
    one, two = (TableEncoder().fit(colours, w, is_categorical) for w in (weight, unit * weight))
    np.testing.assert_array_equal(one.transform(new, float), two.transform(new, float))
    plain = TableEncoder().fit(colours, None, is_categorical)
    np.testing.assert_array_equal(one.transform(new, float), plain.transform(new, float))


def test_few_rows_of_any_weight_are_enough():
    """Rule 1: a row of weight two equals two rows, in a table where one row is enough."""
    codes = np.arange(12.0)[:, None]
    weight = np.array([1.0] * 11 + [9.0])
    one = TableEncoder().fit(codes, weight, np.array([True]))
    two = TableEncoder().fit(np.repeat(codes, weight.astype(int), 0), None, np.array([True]))
    assert one.n_outputs_ == two.n_outputs_ == 12


@pytest.mark.parametrize("column", [[0, 1e-310, 1], [0, 0, 0, 1e-310, 1], [5e-324, 1e-323, 0]])
def test_spreads_without_a_finite_inverse_stay_finite(column):
    X = np.array(column * 20, dtype=float)[:, None]
    assert np.isfinite(TableEncoder().fit(X).transform(X, np.float32)).all()
    model = SnapshotEnsembleClassifier(max_epochs=3, n_cycles=2).fit(X, np.arange(len(X)) % 2)
    assert np.isfinite(model.predict_proba(X)).all()


def test_the_largest_floats_are_as_their_ratios_say():
    X = np.random.default_rng(0).uniform(-1, 1, (60, 2))
    X[0, 0] = np.nan
    one, two = TableEncoder().fit(X), TableEncoder().fit(X * [2.0**1023, 1])
    np.testing.assert_array_equal(one.transform(X, float), two.transform(X * [2.0**1023, 1], float))


def test_a_column_may_have_fewer_pieces_and_miss_with_another(diabetes):
    X = diabetes[0][:, :3].copy()
    X[::4] = np.nan
    encoder = TableEncoder(n_pieces=8).fit(X, parts=np.array([3, -1, -20]))
    assert encoder.pieces_.tolist() == [3, 0, 8]
    Z = encoder.transform(X, float)
    np.testing.assert_array_equal(Z[:, 3 + 11 :], np.isnan(X[:, :1]))


@pytest.mark.parametrize(
    ("column", "is_told"),
    [
        (np.arange(200.0), True),
        (np.random.default_rng(0).permutation(2000.0 + np.arange(1000))[:200], True),
        (np.arange(99.0), False),
        (np.random.default_rng(0).integers(0, 800, 200), False),  # it repeats
        (np.random.default_rng(0).normal(size=200), False),
        (1e6 * np.arange(200.0), False),
        (np.arange(200.0) / 2, False),
    ],
)
def test_whole_numbers_that_never_repeat_are_like_a_row_number(column, is_told):
    encoder = TableEncoder().fit(np.asarray(column, dtype=float)[:, None])
    assert encoder.row_numbers_ == ([0] if is_told else [])


def test_values_at_the_end_of_float64_stay_finite():
    X = np.array([[1.7e308], [-1.7e308], [0.0], [1.0], [2.0]])
    for rows in (X, X[2:]):
        assert np.isfinite(TableEncoder().fit(rows).transform(X, np.float32)).all()


def test_columns_that_were_constant_are_scaled_once_they_vary():
    rng = np.random.default_rng(0)
    first = np.c_[np.full(50, 90.0), np.full(50, np.nan), rng.normal(size=50)]
    later = np.c_[rng.normal(100, 20, 50), rng.normal(-5, 2, 50), 9 + rng.normal(size=50)]
    encoder = TableEncoder(n_pieces=1).fit(first)
    late = encoder.learn_late(later)
    before, now = (e.transform(first, np.float64) for e in (encoder, late))
    np.testing.assert_array_equal(now, before)  # nothing that was learned changes
    z = late.transform(later, np.float64)
    assert 0.5 < z[:, 0].std() < 3
    assert abs(np.median(z[:, 1])) < 0.1
    np.testing.assert_array_equal(z[:, 2], encoder.transform(later, np.float64)[:, 2])
    assert late.learn_late(first) is late  # there is nothing left to learn


def test_a_first_chunk_of_one_day_does_not_hide_the_days():
    rng = np.random.default_rng(0)
    day = np.repeat(np.arange(30), 40)
    X = np.c_[day, rng.normal(size=len(day))]
    y = np.sin(day / 4) + X[:, 1]
    model = SnapshotEnsembleRegressor(n_chains=4, n_cycles=1, max_epochs=25, random_state=0)
    model.partial_fit(X[:40], y[:40])
    order = rng.permutation(len(day))
    for _ in range(3):
        model.partial_fit(X[order], y[order])
    assert model.score(X, y) > 0.95
