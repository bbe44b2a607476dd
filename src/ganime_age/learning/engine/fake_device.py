# mypy: disable-error-code="no-untyped-call"
"""A pretended GPU: every tensor is computed on the CPU, and an account is kept of where it would be.

    with FakeDevice() as gpu:
        network.to("cuda")            # the same numbers in another place
        network(faces)                # MixedDevices: faces are still on the CPU
        float(network(faces.cuda()))  # a synchronisation: gpu.events says where in the code

What a device says is answered by a mode of torch functions (`tensor.device`, `.to`, `device=`), what every operation of
the forward and the backward pass reads and writes by a mode of dispatched operations. The place of a tensor is its
storage's, so views, parameters and gradients need no care of their own.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from ...networks.hair.filters import averaging, faded
from ...networks.layers import bicubic_weights, kept

GPU = torch.device("cuda", 0)
WAITING = {
    "_local_scalar_dense", "is_nonzero", "nonzero", "nonzero_numpy", "masked_select", "equal", "_unique", "_unique2",
    "unique_dim", "unique_consecutive", "_linalg_check_errors", "_linalg_svd", "_linalg_eigh", "linalg_lstsq",
    "bincount",
}  # fmt: skip
"""Dispatched operations whose result, or its size, the host has to wait for."""
FROM_NUMBERS = {torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor}
"""Functions that bring Python's numbers to the device."""
ANSWERED = {getattr(Tensor, name).__get__: name for name in ("device", "is_cuda", "is_cpu")}
"""Attributes of a tensor that tell where it is."""
ASKED = {
    Tensor.untyped_storage,
    Tensor.dim,
    Tensor.size,
    Tensor.numel,
    Tensor.is_floating_point,
    Tensor.is_contiguous,
}
"""Methods of a tensor that compute nothing and have nothing to do with its place."""
INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_"}
"""Dispatched operations that read or write at given places."""
STRICT = {"cat", "stack", "_foreach_add_", "_foreach_lerp_"}
"""Dispatched operations that CUDA refuses even for single numbers on the CPU."""


class MixedDevices(RuntimeError):
    """An operation on tensors of the CPU and of the GPU, which CUDA refuses."""


class Event(NamedTuple):
    """A wait of the host for the device. kind: `wait` for a result, `copy` of numbers to the device. what: the
    operation. where: file:line of the innermost code of the package."""

    kind: str
    what: str
    where: str


def forget() -> None:
    """Drop the constants that were brought to a device: those on the GPU of another time are not on this one's."""
    for made_once in (kept, bicubic_weights, averaging, faded):
        made_once.cache_clear()


class FakeDevice(TorchDispatchMode):
    """Pretends that `cuda` is there. events: every wait of the host, in order. counted: whether they are noted."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Event] = []
        self.counted = True
        self.beside: Any = ()  # arguments of the function that is running: what it makes of nothing lies with them
        self.places: dict[
            int, StorageWeakRef
        ] = {}  # kept, so that no storage gets the address of a former one
        self.answers = _Answers(self)

    def __enter__(self) -> FakeDevice:
        forget()
        super().__enter__()
        self.answers.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        forget()
        self.answers.__exit__(*error)
        super().__exit__(*error)

    def there(self, tensor: object) -> bool:
        """Whether a tensor would be on the GPU."""
        return isinstance(tensor, Tensor) and address_of(tensor) in self.places

    def put(self, result: Any) -> Any:
        """The same tensors, on the GPU."""
        for tensor in _tensors((result,)):
            address = address_of(tensor)
            if address not in self.places:
                self.places[address] = StorageWeakRef(tensor.untyped_storage())
        return result

    def beside_some(self) -> bool:
        """Whether the function that is running was given tensors on the GPU, or asked for its results there."""
        return self.beside is True or any(map(self.there, _tensors(self.beside)))

    def note(self, kind: str, what: object) -> None:
        """One more wait of the host, unless a constant is made that stays."""
        if self.counted:
            frames = list(_frames())
            if not any(name == "constant" for _, _, name in frames):
                where = next((f"{file}:{line}" for file, line, _ in frames), "?")
                self.events.append(Event(kind, str(what), where))

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """Within, waits are not noted: logging, probes, saving."""
        before, self.counted = self.counted, False
        try:
            yield
        finally:
            self.counted = before

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = list(_tensors((*args, *kwargs.values())))
        on_gpu = [self.there(tensor) for tensor in tensors]
        name = func.overloadpacket.__name__
        if not any(on_gpu):
            result = func(*args, **kwargs)
            return self.put(result) if not tensors and self.beside_some() else result
        if name == "copy_":
            if not all(on_gpu):
                self.note("copy" if on_gpu[0] else "wait", func)
            return func(*args, **kwargs)
        if not all(on_gpu) or name in INDEXED:
            self.check(func, tensors, on_gpu, args)
        if name in WAITING or _size_by_content(func, args, kwargs):
            self.note("wait", func)
        result = func(*args, **kwargs)
        return result if name == "_local_scalar_dense" else self.put(result)

    def check(self, func: Any, tensors: list[Tensor], on_gpu: list[bool], args: Any) -> None:
        """MixedDevices, unless those on the CPU are single numbers, or places to read from."""
        name = func.overloadpacket.__name__
        strays = [t for t, there in zip(tensors, on_gpu, strict=True) if not there]
        if name in INDEXED and on_gpu[0]:
            places = [t for t in _tensors(args[1]) if not self.there(t)]
            for _ in places:
                self.note("copy", func)
            strays = [t for t in strays if not any(t is place for place in places)]
        if any(t.dim() for t in strays) or (strays and name in STRICT):
            shapes = [
                f"{tuple(t.shape)} {'cuda' if g else 'cpu'}" for t, g in zip(tensors, on_gpu, strict=True)
            ]
            where = next((f"{file}:{line}" for file, line, _ in _frames()), "?")
            raise MixedDevices(f"{func} on {', '.join(shapes)} at {where}")


class PretendedGPU(Accelerator):  # type: ignore[misc]
    """accelerate's view of one process on a FakeDevice."""

    device = property(lambda self: GPU)


class _Answers(TorchFunctionMode):
    """What tensors say of their device, moves between devices, and what makes tensors of other things."""

    def __init__(self, device: FakeDevice):
        super().__init__()
        self.device = device

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in ASKED or func.__name__ == "__get__" and func not in ANSWERED:
            return func(*args, **(kwargs or {}))
        kwargs, gpu = dict(kwargs or {}), self.device
        first = args[0] if args else None
        there = gpu.there(first)
        if func in ANSWERED:
            return {"device": GPU, "is_cuda": True, "is_cpu": False}[ANSWERED[func]] if there else func(*args)
        if func in (Tensor.to, Tensor.cuda, Tensor.cpu):
            return self.move(func, args, kwargs)
        if func in (Tensor.tolist, Tensor.numpy, Tensor.__array__) and there:
            gpu.note("wait", func)
            with gpu.uncounted():
                return func(*args, **kwargs)
        if func is torch.nn.functional.one_hot and (len(args) > 1 or kwargs):
            with gpu.uncounted(), self.making(args):
                return func(*args, **kwargs)  # with a number of classes CUDA does not look at the values
        if func is Tensor.pin_memory:
            return first
        asked = kwargs.get("device")
        if asked is not None and not isinstance(asked, int):
            kwargs["device"] = "cpu"
            asked = torch.device(asked).type
        elif func is Tensor.new_tensor:
            asked = "cuda" if there else "cpu"
        if asked == "cuda" and func in FROM_NUMBERS:
            gpu.note("copy", func.__name__)
        with self.making(asked == "cuda" if asked else (*args, *kwargs.values())):
            result = func(*args, **kwargs)
        copied = asked == "cuda" or func is Tensor.__deepcopy__ and there
        return gpu.put(result) if copied else result

    @contextmanager
    def making(self, beside: Any) -> Iterator[None]:
        """Within, what is made of no tensors lies with these arguments, or on the GPU if that is True."""
        before, self.device.beside = self.device.beside, beside or ()
        try:
            yield
        finally:
            self.device.beside = before

    def move(self, func: Callable[..., Tensor], args: Any, kwargs: Any) -> Tensor:
        """`.to`, `.cuda`, `.cpu`: a copy in the other place, or the tensor itself."""
        gpu, tensor = self.device, args[0]
        there, goal = gpu.there(tensor), {Tensor.cuda: True, Tensor.cpu: False}.get(func)
        given = list(args[1:] if goal is None else ()) + [kwargs.pop(k, None) for k in ("device", "other")]
        flags = [value for value in given if isinstance(value, bool)] + [False, False]
        kinds = [
            v if isinstance(v, torch.dtype) else v.dtype
            for v in given
            if isinstance(v, (torch.dtype, Tensor))
        ]
        for value in given:
            if isinstance(value, (str, torch.device)):
                goal = torch.device(value).type == "cuda"
            elif isinstance(value, Tensor):
                goal = gpu.there(value)
        waits = not (kwargs.pop("non_blocking", False) or flags[0])
        kwargs = {"copy": flags[1], "dtype": (kinds or [tensor.dtype])[0]} | kwargs
        if goal is False and there and _asked_by_torch():
            goal = None  # torch asked C++ for the device of these tensors, which does not pretend
        moved = goal is not None and goal != there
        out = Tensor.to(tensor, **kwargs)
        if moved and address_of(out) == address_of(tensor):
            out = tensor.clone()
        if not moved:
            return out
        if waits or not goal:
            gpu.note("copy" if goal else "wait", func.__name__)
        if goal:
            return gpu.put(out)
        # A fresh copy: made of a tensor on the GPU, but brought back.
        gpu.places.pop(address_of(out), None)
        return out


def address_of(tensor: Tensor) -> int:
    """What tells a tensor's storage from all others, for as long as it or a weak reference to it is kept."""
    return tensor.untyped_storage()._cdata


def _tensors(values: Any) -> Iterator[Tensor]:
    """The tensors among values, and in lists and tuples of them."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


def _size_by_content(func: Any, args: Any, kwargs: Any) -> bool:
    """Whether the numbers in a tensor decide on the size of what is made, so that the host waits for them."""
    name = func.overloadpacket.__name__
    if name == "repeat_interleave":
        return kwargs.get("output_size") is None
    if name in INDEXED:
        masks = [i for i in args[1] if i is not None and i.dtype in (torch.bool, torch.uint8)]
        return bool(masks) and (name == "index" or args[2].numel() > 1)  # one number is filled in without
    return False


def _asked_by_torch() -> bool:
    """Whether the code that called `.to` is an optimiser's or that of clipping."""
    frame: Any = inspect.currentframe()
    file = frame.f_back.f_back.f_back.f_code.co_filename
    return any(part in file for part in ("torch/optim/", "torch/nn/utils/"))


def _frames() -> Iterator[tuple[str, int, str]]:
    """File, line and function of the package's code that is running, innermost first."""
    frame: Any = inspect.currentframe()
    while frame is not None:
        file = frame.f_code.co_filename
        if "ganime_age" in file and file != __file__:
            yield file.rpartition("ganime_age/")[2], frame.f_lineno, frame.f_code.co_name
        frame = frame.f_back


def told(events: list[Event]) -> str:
    """Events as lines, the most frequent first."""
    return "\n".join(f"{n} x {e.kind} {e.what} at {e.where}" for e, n in Counter(events).most_common())
