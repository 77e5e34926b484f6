"""Names for what goes through the doors of the package.

Some stand for anything at all, since Python cannot say more of them; the name then tells what is
meant.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import BaseCrossValidator
from torch import nn

#: X as a user gives it: array, frame, sparse matrix, tensor, dict of arrays, dataset, list.
Input = Any

#: y as a user gives it, or a splitter, a module, a criterion, a rule: anything scikit-learn,
#: skorch or torch takes.
Parameter = Any

#: An array of any type.
Array = NDArray[Any]

#: An array of float64.
Floats = NDArray[np.float64]

#: Keyword arguments by name.
Options = dict[str, Any]

#: What a module is called with: one tensor, or several by the names of its inputs.
Batch = torch.Tensor | dict[str, torch.Tensor]

#: A function of the features of a batch, such as an augmentation, and several of them; None stands
#: for the features as they are.
View = Callable[[Batch], Batch]
Views = Sequence[View | None]

#: Parameters and buffers of one network by name.
State = dict[str, torch.Tensor]

#: Parameters of the estimators, where more than one kind of value is taken.
ModuleLike = type[nn.Module] | Callable[..., nn.Module] | nn.Module
CriterionLike = type[nn.Module] | Callable[..., nn.Module] | nn.Module
Schedule = str | Callable[..., float]
Members = str | int | Callable[..., ArrayLike]
Validation = str | float | BaseCrossValidator
ClassWeight = Mapping[Any, float] | str
Scoring = str | Callable[..., float]
RandomState = int | np.random.RandomState

#: A file or a folder.
PathLike = str | os.PathLike[str]
