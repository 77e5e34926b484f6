"""Numbers are cast to the kind that fit saw, or refused."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from skensemble._data.kinds import as_kind, kind_of_array, kind_of_tensor


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [("f2", "float"), ("f8", "float"), ("u1", "whole"), ("i8", "whole"), ("?", "truth")],
)
def test_arrays_and_tensors_of_one_type_have_one_kind(dtype, kind):
    array = np.zeros(2, dtype)
    assert kind_of_array(array) == kind_of_tensor(torch.from_numpy(array)) == kind
    assert kind_of_array(sp.csr_array(np.zeros((1, 1), "f4"))) == "float"


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_numbers_of_another_kind_are_cast_without_loss(make):
    X = make(np.array([[0.0, 1.0], [1.0, 0.0]]))
    for kind, dtype in (("whole", np.int64), ("truth", np.bool_), ("float", np.float64)):
        cast = as_kind(X, kind)
        assert cast.dtype == dtype
        assert (cast.astype(float) != X).sum() == 0


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("kind", ["whole", "truth"])
def test_numbers_that_a_kind_cannot_hold_are_refused(make, kind):
    with pytest.raises(ValueError, match=r"Got tokens of type float64 with values such as .*2\.5"):
        as_kind(make(np.array([[0.0, 2.5]])), kind, "tokens")
