"""The base of the optimizers: parameter groups, state, and how steps see them while tracing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from ...ir import dtype as dt
from ...ir.errors import runtime_error, type_error, value_error
from ..creation import zeros
from ..current import current_trace, untraced
from ..gradmode import enable_grad, no_grad
from ..guards import Epoch, State, frozen
from ..inplace import assign
from ..tensor import Tensor
from ..trace import Trace


class ParamGroup(dict[str, Any]):
    """The options of some parameters; changing one that is not lifted makes programs retrace.

    While tracing, a lifted float is read as the number that it is on each call, and nothing can
    be changed: that would happen once, and not on each call.
    """

    lifted: Collection[str] = ()
    owner: Optimizer | None = None
    version = 0  # counts changes after which a parameter may need further state

    def __getitem__(self, key: str) -> Any:
        value = super().__getitem__(key)
        if key not in self.lifted or (trace := current_trace()) is None or self.owner is None:
            return value
        trace.surroundings.note(self.owner)
        read = functools.partial(super().__getitem__, key)
        return self._lift(trace, f"{key}{self.owner._suffix(self)}", value, read)

    def __iter__(self) -> Iterator[str]:
        return super().__iter__()  # defined here, so that dict(group) reads each by its name

    def get(self, key: str, default: Any = None) -> Any:
        if key not in self:
            return default
        return self[key]

    def items(self) -> Any:
        return super().items() if current_trace() is None else {k: self[k] for k in self}.items()

    def values(self) -> Any:
        return super().values() if current_trace() is None else dict(self.items()).values()

    def plain(self) -> dict[str, Any]:
        """The options as they are now, whether a trace is active or not."""
        return {key: super(ParamGroup, self).__getitem__(key) for key in self}

    def _lift(self, trace: Trace, path: str, value: Any, read: Callable[[], Any]) -> Any:
        if isinstance(value, tuple):
            return tuple(
                self._lift(trace, f"{path}.{i}", x, lambda i=i: read()[i])
                for i, x in enumerate(value)
            )
        if not isinstance(value, float):
            return value
        return trace.lift_number((id(self.owner), path), lambda: float(read()), path)

    def __setitem__(self, key: str, value: Any) -> None:
        if current_trace() is not None:
            raise runtime_error(
                f"the option '{key}' of a parameter group is changed inside of a compiled "
                "function, where that would happen once, while it is traced. Options are read "
                "anew on each call: change them, or call the scheduler's step(), outside of the "
                "compiled function"
            )
        old = super().get(key)
        if key not in self.lifted or not old:
            self.version += 1
        super().__setitem__(key, value)
        if key not in self.lifted or _kind(value) != _kind(old):
            Epoch.bump()

    def setdefault(self, key: str, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, *args: Any, **options: Any) -> None:
        for key, value in dict(*args, **options).items():
            self[key] = value


def _kind(option: Any) -> Any:
    """What a program depends on of a lifted option: all of it but the values of floats."""
    if isinstance(option, tuple):
        return tuple(map(_kind, option))
    return float if isinstance(option, float) else frozen(option)


def active(option: Any) -> bool:
    """Whether an option is not zero; one that is lifted may be anything."""
    return isinstance(option, Tensor) or bool(option)


class Optimizer:
    """Subclasses define `_update(group, parameter, gradient, state)`.

    State tensors are created at the first step outside of any trace, so that a compiled step
    finds them as inputs; the step count is a tensor. Float options named in `lifted` are inputs
    of a compiled step, so a new value does not recompile: the learning rate, and what else a
    scheduler changes.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.lifted = {"lr"}
        self.state: dict[Tensor, dict[str, Any]] = {}
        self.param_groups: list[ParamGroup] = []
        self._versions: dict[Tensor, int] = {}  # of the groups, when states were made
        self._young_step: Tensor | None = None
        if isinstance(params, Tensor):
            raise type_error(
                "params argument given to the optimizer should be an iterable of Tensors or "
                f"dicts, but got {type(params).__name__}"
            )
        given = list(params)
        if not given:
            raise value_error("optimizer got an empty parameter list")
        if not isinstance(given[0], dict):
            given = [{"params": given}]
        for group in given:
            self.add_param_group(group)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for number, group in enumerate(self.param_groups):
            lines += [""] if number else []
            lines.append(f"Parameter Group {number}")
            lines += [f"    {k}: {v}" for k, v in sorted(group.plain().items()) if k != "params"]
        return "\n".join([*lines, ")"])

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add parameters with options of their own."""
        params = param_group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        group = ParamGroup({**self.defaults, **param_group, "params": params})
        group.lifted = self.lifted
        group.owner = self
        taken = {id(p) for g in self.param_groups for p in g["params"]}
        for p in group["params"]:
            if not isinstance(p, Tensor):
                raise type_error(
                    "optimizer can only optimize Tensors, but one of the params is "
                    f"{type(p).__name__}"
                )
            if not p.is_leaf:
                raise value_error("can't optimize a non-leaf Tensor")
            if id(p) in taken:
                raise value_error("some parameters appear in more than one parameter group")
        self.param_groups.append(group)
        Epoch.bump()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or set them to zero."""
        for p in self._parameters():
            if set_to_none or p.grad is None:
                p.grad = None
            else:
                p.grad = p.grad.detach() * 0

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient."""
        trace = current_trace()
        if trace is not None:
            trace.surroundings.note(self)
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            ready: list[tuple[dict[str, Any], Tensor, Tensor, dict[str, Any]]] = []
            for group in self.param_groups:
                options = {key: group[key] for key in sorted(group)}
                found = [(p, p.grad) for p in group["params"]]
                ready += [
                    (options, p, g, self._states(p, group)) for p, g in found if g is not None
                ]
            self._young_step = None
            self._advance([state for *_, state in ready])
            for options, p, grad, state in ready:
                self._update(options, p, grad, state)
        if trace is not None:  # the first step of a parameter makes its state
            trace.surroundings.note(self, renewed=True)
        return loss

    def _suffix(self, group: ParamGroup) -> str:
        """What tells the options of a group from those of others in the names of inputs."""
        groups = self.param_groups
        return f".{[g is group for g in groups].index(True)}" if len(groups) > 1 else ""

    def _advance(self, states: list[dict[str, Any]]) -> None:
        """Count a step; parameters that began together share one counter until one is left out."""
        sharing: dict[int, list[dict[str, Any]]] = {}
        for state in states:
            if "step" in state:
                sharing.setdefault(id(state["step"]), []).append(state)
        for key, group in sharing.items():
            if sum(id(s.get("step")) == key for s in self.state.values()) > len(group):
                with untraced():
                    own = group[0]["step"].clone()
                for state in group:
                    state["step"] = own
                Epoch.bump()
            counter = group[0]["step"]
            assign(counter, counter + 1)

    def _new_step(self) -> Tensor:
        """The counter of the parameters that take their first step now."""
        if self._young_step is None:
            # float64 counts exactly and keeps bias corrections accurate.
            self._young_step = zeros((), dtype=dt.float64)
        return self._young_step

    def _states(self, p: Tensor, group: ParamGroup) -> dict[str, Any]:
        found = self.state.get(p)
        if found is None or self._versions.get(p, 0) != group.version:
            self._versions[p] = group.version
            with untraced(), no_grad():
                found = self.state[p] = {**self._init_state(p, group), **(found or {})}
        return found

    def _init_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        """The state tensors of one parameter, created at its first step."""
        return {}

    def _update(
        self, group: dict[str, Any], p: Tensor, grad: Tensor, state: dict[str, Any]
    ) -> None:
        raise NotImplementedError

    def _parameters(self) -> Iterator[Tensor]:
        return (p for group in self.param_groups for p in group["params"])

    # ---- what captured programs depend on -------------------------------------------------

    def _guard_state(self) -> State:
        return {
            (number, ""): (
                tuple(
                    (k, _kind(v) if k in self.lifted else v)
                    for k, v in g.plain().items()
                    if k != "params"
                ),
                tuple(map(id, g["params"])),
                tuple(tuple(map(id, self.state.get(p, {}).values())) for p in g["params"]),
            )
            for number, g in enumerate(self.param_groups)
        }

    def _named_tensors(self, known: Mapping[int, str]) -> Iterable[tuple[str, Tensor]]:
        """Paths of the state tensors: `exp_avg.layers.0.weight`."""
        for i, p in enumerate(self._parameters()):
            owner = known.get(id(p), str(i))
            for key, value in self.state.get(p, {}).items():
                if isinstance(value, Tensor):
                    yield f"{key}.{owner}", value

    # ---- state dicts ----------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Options and state, parameters numbered in order."""
        numbers = {id(p): i for i, p in enumerate(self._parameters())}
        groups = [
            {**{k: v for k, v in g.items() if k != "params"},
             "params": [numbers[id(p)] for p in g["params"]]}
            for g in self.param_groups
        ]  # fmt: skip
        state = {numbers[id(p)]: dict(s) for p, s in self.state.items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore options and state. Raises ValueError where the groups do not fit."""
        groups = state_dict["param_groups"]
        if len(groups) != len(self.param_groups):
            raise value_error("loaded state dict has a different number of parameter groups")
        for mine, theirs in zip(self.param_groups, groups, strict=True):
            if len(mine["params"]) != len(theirs["params"]):
                raise value_error(
                    "loaded state dict contains a parameter group that doesn't match the size of "
                    "optimizer's group"
                )
        params = list(self._parameters())
        for mine, theirs in zip(self.param_groups, groups, strict=True):
            mine.update({k: v for k, v in theirs.items() if k != "params"})
            mine.version += 1
        steps: dict[float, Tensor] = {}
        with untraced(), no_grad():
            self.state = {
                params[int(i)]: {k: self._loaded(k, v, steps) for k, v in saved.items()}
                for i, saved in state_dict["state"].items()
            }
        Epoch.bump()

    def _loaded(self, key: str, value: Any, steps: dict[float, Tensor]) -> Any:
        """A copy of a loaded value; counters that agree are shared again."""
        if not isinstance(value, Tensor):
            return value
        if key == "step":
            return steps.setdefault(float(value), value.clone())
        return value.clone()


__all__ = ["Optimizer"]
