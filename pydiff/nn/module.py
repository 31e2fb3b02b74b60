"""Modules: trees of layers whose parameters have names, a file layout, and a mode.

A module finds its parameters and children by looking at its own attributes, so that registering
takes no more than assigning one. Names and layouts in files are those of diffusers.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from .. import backend
from ..autograd import Tensor, no_grad
from ..errors import CheckpointError, DtypeError
from ..io.weights import WeightsFile, write_weights
from . import init as initial

M = TypeVar("M", bound="Module")
Shape = tuple[int, ...]

_LISTED_AT_MOST = 100  # keys of one kind in an error message


class Parameter(Tensor):
    """A trainable tensor of a module.

    `file_axes` is the transposition from the layout in memory to the one in files: convolutions are
    (kh, kw, in, out) here and (out, in, kh, kw) there, linear weights (in, out) and (out, in).
    """

    def __init__(
        self,
        shape: Shape,
        init: initial.Init,
        file_axes: tuple[int, ...] | None = None,
        requires_grad: bool = True,
    ) -> None:
        super().__init__(initial.first_value(shape, init), requires_grad=requires_grad)
        self.init = init
        self.file_axes = file_axes or tuple(range(len(shape)))

    @property
    def file_shape(self) -> Shape:
        """The shape of this parameter in files."""
        return tuple(self.shape[axis] for axis in self.file_axes)

    def to_file(self) -> np.ndarray:
        """A contiguous copy in the file's layout."""
        return np.array(self.data.transpose(self.file_axes), order="C")

    def from_file(self, array: np.ndarray) -> None:
        """Take the values of an array in the file's layout; the dtype stays."""
        self.data = self.converted(array)

    def converted(self, array: np.ndarray) -> np.ndarray:
        """A copy, in this parameter's layout and dtype, of an array in the file's layout."""
        array = array.reshape(self.file_shape).transpose(np.argsort(self.file_axes))
        return backend.contiguous(array.astype(self.dtype, copy=False))

    def fits(self, shape: Shape) -> bool:
        """Whether a file's array of `shape` holds this parameter.

        A linear weight may be stored as a 1x1 convolution, as old attention blocks are.
        """
        wanted = self.file_shape
        return tuple(shape) == wanted or (len(wanted) == 2 and tuple(shape) == (*wanted, 1, 1))


class Module:
    """Base of layers and networks: assign parameters and modules, define `forward`."""

    training: bool = True
    independent_images: ClassVar[bool] = False  # nothing mixes them: plans may cut a batch
    old_names: ClassVar[Mapping[str, str]] = {}  # old name of a child in files -> its name now

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        output = self.forward(*args, **kwargs)
        watcher = getattr(_watched, "watcher", None)
        if watcher is not None:
            watcher(self, output)
        return output

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no forward method")

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Names and modules among the attributes, in the order of assignment."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, (list, tuple, dict)):
                self._refuse_hidden(name, value)

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module (named `prefix`) and all below it, parents first."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(_join(prefix, name))

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Names and parameters of the whole tree; a shared parameter appears once."""
        seen: set[int] = set()
        for path, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Parameter) and id(value) not in seen:
                    seen.add(id(value))
                    yield _join(path, name), value

    def parameters(self) -> list[Parameter]:
        """All parameters of the tree, trainable or not."""
        return [parameter for _, parameter in self.named_parameters()]

    def num_parameters(self) -> int:
        """Number of elements of all parameters."""
        return sum(parameter.size for parameter in self.parameters())

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the parameters; float32 where there are none."""
        parameter = next((p for _, p in self.named_parameters()), None)
        return np.dtype(np.float32) if parameter is None else parameter.dtype

    def astype(self: M, dtype: DTypeLike) -> M:
        """Make all parameters float32 or float64, dropping their gradients; returns self."""
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise DtypeError(f"astype: dtype {np.dtype(dtype)}; allowed: float32, float64")
        for parameter in self.parameters():
            parameter.data = parameter.data.astype(dtype)
            parameter.grad = None
        return self

    def train(self: M, mode: bool = True) -> M:
        """Set the tree to training (dropout acts) or, with False, evaluation; returns self."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self: M) -> M:
        """Switch the tree to evaluation; returns self."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters():
            parameter.grad = None

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all parameters by name, in the layout of diffusers' files."""
        return {name: parameter.to_file() for name, parameter in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, np.ndarray], strict: bool = True) -> None:
        """Take parameters from arrays in the file's layout; the dtype of the module stays.

        Raises CheckpointError listing all missing, unexpected and wrong-shape names at once; with
        strict False missing and unexpected ones are passed over. Nothing changes if it raises.
        """
        shapes = {name: np.shape(array) for name, array in state.items()}
        self._fill(self._matched(shapes, strict), state.__getitem__)

    def load_weights(self, path: str | os.PathLike[str], strict: bool = True) -> None:
        """Load a safetensors file, comparing names and shapes before reading any array.

        Raises CheckpointError for a malformed file and like `load_state_dict`.
        """
        with WeightsFile(path) as file:
            self._fill(self._matched(_shapes(file), strict, f"{path}: "), file.read, f"{path}: ")

    def matched_weights(self, file: WeightsFile) -> dict[str, str]:
        """Parameter name -> name in the file, which must hold them all and no others.

        Raises CheckpointError like `load_state_dict`; reads no array.
        """
        for name, info in file.tensors.items():
            if info.dtype[:1] not in "FB":
                raise CheckpointError(f"{file.path}: {name} has dtype {info.dtype}, not floats")
        return self._matched(_shapes(file), True, f"{file.path}: ")

    def save_weights(
        self, path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None
    ) -> None:
        """Write the parameters to a safetensors file atomically. Raises WriteError."""
        write_weights(path, self.state_dict(), metadata)

    def _matched(
        self, shapes: Mapping[str, Shape], strict: bool, where: str = ""
    ) -> dict[str, str]:
        """Parameter name -> name among `shapes`; CheckpointError where they do not fit."""
        parameters = dict(self.named_parameters())
        aliases = self._aliases()
        sources: dict[str, str] = {}  # current name -> name in the file
        unexpected = []
        for name in shapes:
            stem, _, leaf = name.rpartition(".")
            current = _join(aliases.get(stem, stem), leaf)
            if current in parameters and current not in sources:
                sources[current] = name
            else:
                unexpected.append(name)
        missing = [name for name in parameters if name not in sources]
        wrong = [
            f"{source} has shape {shapes[source]}, expected {parameters[name].file_shape}"
            for name, source in sources.items()
            if not parameters[name].fits(shapes[source])
        ]
        if wrong or (strict and (missing or unexpected)):
            problems = _listed("wrong shape", wrong)
            problems += _listed("missing", _with_shapes(missing, parameters)) if strict else ""
            problems += _listed("unexpected", unexpected) if strict else ""
            raise CheckpointError(f"{where}weights do not fit {type(self).__name__}{problems}")
        return sources

    def _fill(
        self, sources: Mapping[str, str], read: Callable[[str], np.ndarray], where: str = ""
    ) -> None:
        parameters = dict(self.named_parameters())
        for name, source in sources.items():
            parameters[name].from_file(_floats(read(source), f"{where}{source}"))

    def _aliases(self) -> dict[str, str]:
        """Old path -> current path of every module that was renamed."""
        return {
            _join(path, old): _join(path, new)
            for path, module in self.named_modules()
            for old, new in module.old_names.items()
        }

    def _refuse_hidden(self, name: str, container: Any) -> None:
        values = container.values() if isinstance(container, dict) else container
        if any(isinstance(value, (Module, Parameter)) for value in values):
            raise TypeError(
                f"{type(self).__name__}.{name} is a {type(container).__name__} that holds "
                "modules or parameters, which would not be registered; use pydiff.nn.ModuleList"
            )


class ModuleList(Module):
    """Modules in order, named "0", "1", ... in files."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self._modules = list(modules)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        for index, module in enumerate(self._modules):
            yield str(index), module

    def append(self, module: Module) -> None:
        """Add `module` at the end."""
        self._modules.append(module)

    def __getitem__(self, index: int) -> Module:
        return self._modules[index]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules)


_watched = threading.local()


def first_nonfinite(model: Module, *args: Any, **kwargs: Any) -> str | None:
    """The name of the first module in model(*args, **kwargs) that puts out a NaN or an infinity.

    "inputs" if an argument does already, "" for the model itself, None if everything is finite.
    """
    if not _finite((*args, *kwargs.values())):
        return "inputs"
    names = {id(module): name for name, module in model.named_modules()}
    found: list[str] = []

    def watch(module: Module, output: Any) -> None:
        if not found and not _finite(output):
            found.append(names.get(id(module), type(module).__name__))

    _watched.watcher = watch
    try:
        with no_grad(), np.errstate(all="ignore"):
            model(*args, **kwargs)
    finally:
        _watched.watcher = None
    return found[0] if found else None


def _finite(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(_finite(item) for item in value)
    array = value.data if isinstance(value, Tensor) else np.asarray(value)
    return array.dtype.kind not in "fc" or bool(np.isfinite(array).all())


def _shapes(file: WeightsFile) -> dict[str, Shape]:
    return {name: info.shape for name, info in file.tensors.items()}


def _floats(value: Any, where: str) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind != "f":
        raise CheckpointError(f"{where} has dtype {array.dtype}, expected floats")
    return array


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _with_shapes(names: list[str], parameters: dict[str, Parameter]) -> list[str]:
    return [f"{name} {parameters[name].file_shape}" for name in names]


def _listed(kind: str, items: list[str]) -> str:
    """A paragraph of an error message; empty where there are no items."""
    if not items:
        return ""
    shown = items[:_LISTED_AT_MOST]
    rest = [f"and {len(items) - len(shown)} more"] if len(items) > len(shown) else []
    return f"\n{kind} ({len(items)}):\n  " + "\n  ".join(shown + rest)
