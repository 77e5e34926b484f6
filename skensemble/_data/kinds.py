"""Whether numbers are floats, whole, or truth values: what fit saw, later rows are cast to."""

from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse

from skensemble._types import Array

#: "float", "whole" or "truth"; by name where X is a dict.
Kinds = str | dict[str, str]

_OF_NUMPY = {"b": "truth", "i": "whole", "u": "whole"}

#: What each kind takes, in words.
_WORDS = {"whole": "whole numbers", "truth": "truth values (or 0 and 1)", "float": "numbers"}


def kind_of_array(X: Any) -> str:
    """Tell the kind of an array's or of a sparse matrix's numbers."""
    return _OF_NUMPY.get(X.dtype.kind, "float")


def kind_of_tensor(X: torch.Tensor) -> str:
    """Tell the kind of a tensor's numbers."""
    if X.dtype == torch.bool:
        return "truth"
    return "float" if X.is_floating_point() else "whole"


def as_kind(X: Any, kind: str, name: str = "X") -> Any:
    """Cast an array or a sparse matrix to a kind, or refuse numbers that it cannot hold.

    Examples
    --------
    >>> import numpy as np
    >>> from skensemble._data.kinds import as_kind
    >>> as_kind(np.array([1.0, 2.0]), "whole")
    array([1, 2])
    """
    if kind_of_array(X) == kind:
        return X
    if kind == "float":
        return X.astype(np.float64)
    values: Array = X.data if issparse(X) else X
    cast = X.astype(np.bool_ if kind == "truth" else np.int64)
    is_same = (cast.data if issparse(X) else cast) == values
    if not is_same.all():
        raise ValueError(
            f"Got {name} of type {X.dtype} with values such as {values[~is_same].flat[0]!r}, but "
            f"expected {_WORDS[kind]} as in fit: cast them, or fit on numbers of this type."
        )
    return cast
