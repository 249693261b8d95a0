"""`Module`: the base of all models, with PyTorch's registration by assignment."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from ...ir.errors import (
    attribute_error,
    key_error,
    not_implemented,
    runtime_error,
    type_error,
    value_error,
)
from ..current import current_trace, untraced
from ..gradmode import no_grad
from ..guards import Epoch, State, frozen
from ..tensor import Tensor
from .parameter import Parameter

M = TypeVar("M", bound="Module")


# What a module's own tables are called; every other attribute is the user's.
_TABLES = frozenset(("_parameters", "_buffers", "_modules", "_transient", "_pre_hooks", "_hooks"))


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict` did not find, and what it did not know."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return (
            f"IncompatibleKeys(missing_keys={self.missing_keys}, "
            f"unexpected_keys={self.unexpected_keys})"
        )


def check_module(module: object) -> None:
    """Raise TypeError for what is no module."""
    if not isinstance(module, Module):
        raise type_error(f"{type(module).__name__} is not a Module subclass")


class Module:
    """Parameters, buffers and submodules under names, and a `forward`."""

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _transient: set[str]
    _pre_hooks: dict[int, Callable[..., Any]]
    _hooks: dict[int, Callable[..., Any]]

    def __init__(self) -> None:
        object.__setattr__(self, "training", True)
        object.__setattr__(self, "_parameters", {})
        object.__setattr__(self, "_buffers", {})
        object.__setattr__(self, "_modules", {})
        object.__setattr__(self, "_transient", set())
        object.__setattr__(self, "_pre_hooks", {})
        object.__setattr__(self, "_hooks", {})

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The computation; subclasses define it."""
        raise not_implemented(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        trace = current_trace()
        if trace is not None:
            trace.surroundings.note(self)
        for hook in self._pre_hooks.values():
            changed = hook(self, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        out = self.forward(*args, **kwargs)
        for hook in self._hooks.values():
            changed = hook(self, args, out)
            out = out if changed is None else changed
        return out

    # ---- registration ---------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        tables = self.__dict__.get("_parameters")
        if tables is None:
            raise attribute_error(
                "cannot assign module before Module.__init__() call"
                if isinstance(value, Module)
                else "cannot assign parameters before Module.__init__() call"
            )
        if isinstance(value, Parameter):
            self._forget(name)
            self._parameters[name] = value
        elif isinstance(value, Module):
            self._forget(name)
            self._modules[name] = value
        elif name in self._parameters and (value is None or isinstance(value, Tensor)):
            if value is not None:
                raise type_error(
                    f"cannot assign '{type(value).__name__}' as parameter '{name}' "
                    "(nn.Parameter or None expected)"
                )
            self._parameters[name] = None
        elif name in self._buffers and (value is None or isinstance(value, Tensor)):
            self._buffers[name] = value
        elif name in self._modules and value is None:
            self._modules[name] = None
        else:
            self._forget(name)
            object.__setattr__(self, name, value)
        Epoch.bump()

    def _forget(self, name: str) -> None:
        self.__dict__.pop(name, None)
        for table in (self._parameters, self._buffers, self._modules):
            table.pop(name, None)

    def __getattr__(self, name: str) -> Any:
        for table in ("_parameters", "_buffers", "_modules"):
            found = self.__dict__.get(table, {})
            if name in found:
                return found[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __delattr__(self, name: str) -> None:
        for table in (self._parameters, self._buffers, self._modules):
            if name in table:
                del table[name]
                break
        else:
            object.__delattr__(self, name)
        Epoch.bump()

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under a name."""
        self._check_name(name, self._parameters)
        if param is not None and not isinstance(param, Parameter):
            raise type_error(
                f"cannot assign '{type(param).__name__}' object to parameter '{name}' "
                "(nn.Parameter or None required)"
            )
        self._parameters[name] = param
        Epoch.bump()

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that belongs to the state but is no parameter."""
        self._check_name(name, self._buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise type_error(
                f"cannot assign '{type(tensor).__name__}' object to buffer '{name}' "
                "(Tensor or None required)"
            )
        self._buffers[name] = tensor
        (self._transient.discard if persistent else self._transient.add)(name)
        Epoch.bump()

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a submodule under a name."""
        self._check_name(name, self._modules)
        if module is not None:
            check_module(module)
        self._modules[name] = module
        Epoch.bump()

    register_module = add_module

    def _check_name(self, name: str, table: Mapping[str, object]) -> None:
        """Raise KeyError where a name cannot be one in the table, or is something else already."""
        if "." in name:
            raise key_error(f'name can\'t contain "." ({name})')
        if not name:
            raise key_error('name can\'t be empty string ""')
        if hasattr(self, name) and name not in table:
            raise key_error(f"attribute '{name}' already exists")

    # ---- walking --------------------------------------------------------------------------

    def named_modules(self, memo: set[int] | None = None, prefix: str = "") -> Iterator[Any]:
        """(path, module) of this module and all below it, each once."""
        memo = set() if memo is None else memo
        if id(self) in memo:
            return
        memo.add(id(self))
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        return (m for _, m in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the direct submodules."""
        return ((n, m) for n, m in self._modules.items() if m is not None)

    def children(self) -> Iterator[Module]:
        """The direct submodules."""
        return (m for _, m in self.named_children())

    def _named(self, table: str, prefix: str, recurse: bool, once: bool) -> Iterator[Any]:
        seen: set[int] = set()
        modules = self.named_modules(prefix=prefix) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, tensor in getattr(module, table).items():
                if tensor is None or (once and id(tensor) in seen):
                    continue
                seen.add(id(tensor))
                yield (f"{path}.{name}" if path else name), tensor

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """(path, parameter); a tied parameter once, under its first name."""
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters, each once."""
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """(path, buffer), each once."""
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers, each once."""
        return (b for _, b in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """The module at a path. Raises AttributeError."""
        module: Any = self
        for part in target.split(".") if target else ():
            if part not in module._modules:
                raise attribute_error(f"{type(module).__name__} has no attribute `{part}`")
            module = module._modules[part]
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a path. Raises AttributeError."""
        path, _, name = target.rpartition(".")
        return getattr(self.get_submodule(path), name)

    def _named_tensors(self, known: Mapping[int, str]) -> Iterable[tuple[str, Tensor]]:
        """Paths for the inputs of captured programs."""
        yield from self.named_parameters()
        yield from self.named_buffers()

    def _guard_state(self) -> State:
        """What a captured program depends on: modes, structure, attributes."""
        out: State = {}
        for path, module in self.named_modules():
            tensors = tuple(
                (k, id(t), None if t is None else t.requires_grad)
                for k, t in (*module._parameters.items(), *module._buffers.items())
            )
            hooks = tuple(
                tuple(map(frozen, table.values())) for table in (module._pre_hooks, module._hooks)
            )
            out[path, ""] = (id(type(module)), tensors, hooks)
            out |= {(path, k): frozen(v) for k, v in module.__dict__.items() if k not in _TABLES}
        return out

    # ---- state ----------------------------------------------------------------------------

    def state_dict(self, prefix: str = "") -> OrderedDict[str, Tensor]:
        """Parameters and persistent buffers by path; they share memory with the module."""
        out: OrderedDict[str, Tensor] = OrderedDict()
        for name, p in self._parameters.items():
            if p is not None:
                out[prefix + name] = p.detach()
        for name, b in self._buffers.items():
            if b is not None and name not in self._transient:
                out[prefix + name] = b.detach()
        for name, module in self._modules.items():
            if module is not None:
                out.update(module.state_dict(f"{prefix}{name}."))
        return out

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True
    ) -> IncompatibleKeys:
        """Copy values in. Raises RuntimeError naming every key and size that does not fit."""
        own = self._state_tensors()
        missing = [k for k in own if k not in state_dict]
        unexpected = [k for k in state_dict if k not in own]
        errors: list[str] = []
        if strict and unexpected:
            keys = ", ".join(f'"{k}"' for k in unexpected)
            errors.append(f"Unexpected key(s) in state_dict: {keys}. ")
        if strict and missing:
            keys = ", ".join(f'"{k}"' for k in missing)
            errors.append(f"Missing key(s) in state_dict: {keys}. ")
        for key, tensor in own.items():
            if key in state_dict and tuple(state_dict[key].shape) != tuple(tensor.shape):
                errors.append(
                    f"size mismatch for {key}: copying a param with shape "
                    f"{list(state_dict[key].shape)} from checkpoint, the shape in current model is "
                    f"{list(tensor.shape)}."
                )
        if errors:
            raise runtime_error(
                f"Error(s) in loading state_dict for {type(self).__name__}:\n\t"
                + "\n\t".join(errors)
            )
        with untraced(), no_grad():
            for key, tensor in own.items():
                if key in state_dict:
                    tensor.copy_(state_dict[key])
        return IncompatibleKeys(missing, unexpected)

    def _state_tensors(self, prefix: str = "") -> dict[str, Tensor]:
        out: dict[str, Tensor] = {
            prefix + k: p for k, p in self._parameters.items() if p is not None
        }
        for name, b in self._buffers.items():
            if b is not None and name not in self._transient:
                out[prefix + name] = b
        for name, module in self._modules.items():
            if module is not None:
                out.update(module._state_tensors(f"{prefix}{name}."))
        return out

    # ---- modes and changes ----------------------------------------------------------------

    def train(self: M, mode: bool = True) -> M:
        """Set training mode here and below."""
        if not isinstance(mode, bool):
            raise value_error("training mode is expected to be boolean")
        for module in self.modules():
            if module.training is not mode:
                object.__setattr__(module, "training", mode)
                Epoch.bump()
        return self

    def eval(self: M) -> M:
        """Set evaluation mode here and below."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Track gradients of all parameters, or stop to."""
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        Epoch.bump()
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or set them to zero."""
        for p in self.parameters():
            if set_to_none or p.grad is None:
                p.grad = None
            else:
                p.grad = p.grad.detach() * 0

    def apply(self: M, fn: Callable[[Module], Any]) -> M:
        """Call `fn` on every submodule, then on this one."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def to(self: M, *args: Any, **kwargs: Any) -> M:
        """Move or cast floating-point parameters and buffers."""
        with untraced(), no_grad():
            for tensor in (*self.parameters(), *self.buffers()):
                to = tensor.to(*args, **kwargs)
                if tensor.is_floating_point() or to.dtype is tensor.dtype:
                    tensor.data = to
        return self

    def double(self: M) -> M:
        """Cast floating-point parameters and buffers to float64."""
        from ...ir.dtype import float64

        return self.to(float64)

    def float(self: M) -> M:
        """Cast floating-point parameters and buffers to float32."""
        from ...ir.dtype import float32

        return self.to(float32)

    def register_forward_pre_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call `hook(module, args)` before each forward; it may return other arguments."""
        return Handle(self._pre_hooks, hook)

    def register_forward_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call `hook(module, args, output)` after each forward; it may return another output."""
        return Handle(self._hooks, hook)

    # ---- printing -------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What `repr` says inside the parentheses."""
        return ""

    def __repr__(self) -> str:
        lines = [
            f"({name}): " + repr(module).replace("\n", "\n  ")
            for name, module in self._modules.items()
        ]
        extra = self.extra_repr()
        if not lines:
            return f"{type(self).__name__}({extra})"
        body = "\n  ".join([*([extra] if extra else []), *lines])
        return f"{type(self).__name__}(\n  {body}\n)"


class Handle:
    """What registering a hook returns; `remove()` undoes it."""

    _next = 0

    def __init__(self, table: dict[int, Callable[..., Any]], hook: Callable[..., Any]) -> None:
        Handle._next += 1
        self._table, self._key = table, Handle._next
        table[self._key] = hook
        Epoch.bump()

    def remove(self) -> None:
        """Take the hook away again."""
        self._table.pop(self._key, None)
        Epoch.bump()


__all__ = ["Module"]
