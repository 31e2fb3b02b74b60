"""Tensor: an ndarray that remembers the ops that made it. Ops are found by name in `OPS`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..errors import AutogradError
from . import tape
from .arrays import Array

OPS: dict[str, Callable[..., Any]] = {}  # filled by pydiff.ops; autograd itself has no formulas


class Tensor(tape.TensorBase):
    """A float32 or float64 array with gradients.

    Args:
        data: ndarray, shared and not copied; Python numbers, lists and integer arrays become
            float32. Other dtypes raise DtypeError.
        requires_grad: whether `backward` shall leave a gradient in `.grad`, a plain ndarray.

    `t += x` rebinds the name to a new tensor, as Python does for numbers. Item assignment is an
    error. Two tensors in one op must have the same dtype; Python scalars take the tensor's.
    """

    __slots__ = ()
    __array_ufunc__ = None  # ndarray + Tensor comes to Tensor.__radd__

    # --- gradient -------------------------------------------------------------------------------

    def backward(self, grad: Any = None, only: Tensor | None = None) -> None:
        """Add the gradient of this tensor to `.grad` of every leaf that it depends on.

        grad: array of this tensor's shape and dtype (the cotangent); may be omitted for tensors
            of one element. only: a leaf, the one that shall get a gradient; nothing is computed
            for the others. The graph is freed. Raises AutogradError, ShapeError, DtypeError.
        """
        tape.backward(self, grad, only)

    def zero_grad(self) -> None:
        """Forget the accumulated gradient."""
        self.grad = None

    def detach(self) -> Tensor:
        """A tensor on the same memory that no gradient passes."""
        return Tensor(self.data)

    # --- as an array ----------------------------------------------------------------------------

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        return self.data.size

    def numpy(self) -> Array:
        """The ndarray itself, the same as `.data`."""
        return self.data

    def item(self) -> float:
        """The only element, as a Python float. ValueError if there are more."""
        return float(self.data.item())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if self.requires_grad and tape.is_grad_enabled():
            raise AutogradError(
                "a tensor that requires a gradient does not turn into an array by itself, for the "
                "gradient would be lost; use .numpy() or .detach(), or a function of pydiff.ops"
            )
        array = self.data if dtype is None else self.data.astype(dtype, copy=False)
        return array.copy() if copy else array

    def __float__(self) -> float:
        return self.item()

    def __bool__(self) -> bool:
        return bool(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        text = np.array2string(self.data, separator=", ", prefix="Tensor(")
        if self.node is not None:
            origin = f", op='{self.node.op}'"
        else:
            origin = ", requires_grad=True" if self.requires_grad else ""
        return f"{type(self).__name__}({text}, dtype={self.dtype}{origin})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self.node is not None:
            raise AutogradError(
                f"the result of '{self.node.op}' cannot be copied or pickled; .detach() it first"
            )
        attributes = getattr(self, "__dict__", {})  # of a subclass
        return _rebuild, (type(self), self.data, self.grad, self.requires_grad, attributes)

    # --- operators ------------------------------------------------------------------------------

    def __add__(self, other: Any) -> Tensor:
        return OPS["add"](self, other)

    def __radd__(self, other: Any) -> Tensor:
        return OPS["add"](other, self)

    def __sub__(self, other: Any) -> Tensor:
        return OPS["subtract"](self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return OPS["subtract"](other, self)

    def __mul__(self, other: Any) -> Tensor:
        return OPS["multiply"](self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return OPS["multiply"](other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return OPS["divide"](self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return OPS["divide"](other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return OPS["matmul"](self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return OPS["matmul"](other, self)

    def __pow__(self, exponent: float) -> Tensor:
        return OPS["power"](self, exponent)

    def __neg__(self) -> Tensor:
        return OPS["negative"](self)

    def __getitem__(self, index: Any) -> Tensor:
        return OPS["getitem"](self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise AutogradError(
            "item assignment is not recorded; build the result with pad, concat or a mask, or "
            "write to .data where no gradient is needed"
        )

    # --- methods --------------------------------------------------------------------------------

    def reshape(self, *shape: Any) -> Tensor:
        """The same elements in another shape (one size may be -1); a view where NumPy has one."""
        return OPS["reshape"](self, shape[0] if _is_sequence(shape) else shape)

    def transpose(self, *axes: Any) -> Tensor:
        """A view with permuted axes; reversed if none are given."""
        return OPS["transpose"](self, axes[0] if _is_sequence(axes) else axes or None)

    @property
    def T(self) -> Tensor:
        return self.transpose()

    def sum(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return OPS["sum"](self, axis, keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return OPS["mean"](self, axis, keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return OPS["max"](self, axis, keepdims)

    def astype(self, dtype: Any) -> Tensor:
        """A float32 or float64 copy; the gradient is converted back."""
        return OPS["astype"](self, dtype)


def _is_sequence(args: tuple[Any, ...]) -> bool:
    """Was one tuple given rather than several numbers?"""
    return len(args) == 1 and (args[0] is None or isinstance(args[0], (tuple, list)))


def _rebuild(
    cls: type[Tensor],
    data: Array,
    grad: Array | None,
    requires_grad: bool,
    attributes: dict[str, Any],
) -> Tensor:
    tensor = cls.__new__(cls)
    tape.TensorBase.__init__(tensor, data, requires_grad)
    tensor.grad = grad
    for name, value in attributes.items():
        setattr(tensor, name, value)
    return tensor


tape.set_tensor_type(Tensor)
