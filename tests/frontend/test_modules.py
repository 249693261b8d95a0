"""Modules: registration, names, containers, state, modes, hooks, and what programs see of them."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import calque
import calque.nn as nn
import calque.nn.functional as F
from calque import Tensor
from calque.frontend.program import trace


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 3)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.embed(ids))


def test_names() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.BatchNorm1d(3), nn.ReLU()))
    assert [n for n, _ in model.named_parameters()] == [
        "0.weight", "0.bias", "1.0.weight", "1.0.bias",
    ]  # fmt: skip
    assert [n for n, _ in model.named_buffers()] == [
        "1.0.running_mean", "1.0.running_var", "1.0.num_batches_tracked",
    ]  # fmt: skip
    assert [n for n, _ in model.named_modules()] == ["", "0", "1", "1.0", "1.1"]
    assert model.get_submodule("1.0") is model[1][0]
    assert model.get_parameter("0.weight") is model[0].weight
    with pytest.raises(AttributeError, match="no attribute `7`"):
        model.get_submodule("7")


def test_a_tied_parameter_is_one() -> None:
    model = Tied()
    assert [n for n, _ in model.named_parameters()] == ["embed.weight"]
    assert list(model.state_dict()) == ["embed.weight", "head.weight"]
    program = trace(model, calque.tensor([0, 1]))
    assert [i.name for i in program.captured.inputs] == ["ids", "embed.weight"]


def test_registration() -> None:
    model = nn.Module()
    model.weight = nn.Parameter(calque.ones(2))
    model.register_buffer("mean", calque.zeros(2))
    model.register_buffer("scratch", calque.zeros(2), persistent=False)
    model.child = nn.Linear(1, 1)
    assert list(model.state_dict()) == ["weight", "mean", "child.weight", "child.bias"]
    with pytest.raises(TypeError, match="cannot assign 'Tensor' as parameter 'weight'"):
        model.weight = calque.ones(2)
    model.weight = None
    assert list(model.parameters()) == list(model.child.parameters())
    del model.child
    assert not hasattr(model, "child")
    with pytest.raises(KeyError, match="t contain"):
        model.register_buffer("a.b", None)
    with pytest.raises(AttributeError, match="'Module' object has no attribute 'absent'"):
        _ = model.absent

    class Early(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Linear(1, 1)

    with pytest.raises(AttributeError, match=r"before Module.__init__\(\) call"):
        Early()


def test_a_parameter_in_a_trace_keeps_its_name() -> None:
    program = trace(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten()), np.zeros((1, 1, 4, 4), "f"))
    assert [i.name for i in program.captured.inputs] == ["input", "0.weight", "0.bias"]


def test_sequential() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    model.append(nn.Linear(3, 4)).insert(1, nn.Tanh())
    assert [type(m).__name__ for m in model] == ["Linear", "Tanh", "ReLU", "Linear"]
    assert model[-1].out_features == 4
    assert len(model[1:]) == 3
    del model[1]
    assert list(dict(model.named_children())) == ["0", "1", "2"]
    assert model(calque.ones(5, 2)).shape == (5, 4)
    named = nn.Sequential({"first": nn.Linear(2, 2), "last": nn.ReLU()})
    assert named.first is named[0]
    with pytest.raises(IndexError, match="out of range"):
        _ = model[3]


def test_module_list_and_dict() -> None:
    layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(2))
    layers += [nn.ReLU()]
    layers.insert(0, nn.Tanh())
    assert [type(m).__name__ for m in layers] == ["Tanh", "Linear", "Linear", "ReLU"]
    assert isinstance(layers.pop(-1), nn.ReLU)
    assert len(layers[1:]) == 2
    choice = nn.ModuleDict({"a": nn.Linear(2, 2)})
    choice["b"] = nn.ReLU()
    assert list(choice) == ["a", "b"]
    assert "a" in choice
    assert [n for n, _ in choice.named_parameters()] == ["a.weight", "a.bias"]
    del choice["a"]
    assert len(choice) == 1
    with pytest.raises(NotImplementedError, match='missing the required "forward" function'):
        layers(1)


def test_parameter_list_and_dict() -> None:
    weights = nn.ParameterList([calque.ones(2), nn.Parameter(calque.zeros(3))])
    weights.append(calque.ones(1))
    assert [tuple(p.shape) for p in weights] == [(2,), (3,), (1,)]
    assert all(p.requires_grad for p in weights)
    assert [n for n, _ in weights.named_parameters()] == ["0", "1", "2"]
    table = nn.ParameterDict({"a": calque.ones(2)})
    table["b"] = calque.ones(3)
    assert list(table.keys()) == ["a", "b"]
    with pytest.raises(TypeError, match="expected a Parameter or a Tensor"):
        table["c"] = 1


def test_load_state_dict_says_all_that_does_not_fit() -> None:
    model = nn.Linear(2, 3)
    state: dict[str, Any] = {"weight": calque.zeros(2, 2), "other": calque.zeros(1)}
    with pytest.raises(RuntimeError, match=r"(?s)Linear.*\"other\".*\"bias\".*size mismatch") as e:
        model.load_state_dict(state)
    assert "copying a param with shape [2, 2] from checkpoint" in str(e.value)
    found = model.load_state_dict({"bias": calque.ones(3)}, strict=False)
    assert found.missing_keys == ["weight"]
    assert model.bias is not None
    assert model.bias.tolist() == [1.0, 1.0, 1.0]


def test_modes() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
    assert model.eval()[1].training is False
    assert model.train()[1].training is True
    with pytest.raises(ValueError, match="boolean"):
        model.train("yes")  # pyright: ignore[reportArgumentType]
    model.requires_grad_(False)
    assert not any(p.requires_grad for p in model.parameters())


def test_casts() -> None:
    model = nn.BatchNorm1d(2).double()
    assert model.running_mean is not None
    assert model.num_batches_tracked is not None
    assert model.running_mean.dtype is calque.float64
    assert model.num_batches_tracked.dtype is calque.int64
    assert model(calque.ones(3, 2, dtype=calque.float64)).dtype is calque.float64
    assert model.float().weight is not None


def test_hooks_run_eagerly_and_compiled() -> None:
    for wrap in (lambda m: m, calque.compile):
        model = nn.Linear(2, 2)
        run = wrap(model)
        x = calque.ones(1, 2)
        plain = run(x).detach().numpy().copy()
        first = model.register_forward_hook(lambda m, args, out: out * 2)
        second = model.register_forward_pre_hook(lambda m, args: (args[0] * 0,))
        assert model.bias is not None
        np.testing.assert_allclose(run(x).detach().numpy(), 2 * model.bias.detach().numpy()[None])
        first.remove()
        second.remove()
        np.testing.assert_array_equal(run(x).detach().numpy(), plain)


def test_copies_are_apart() -> None:
    model = Tied()
    other = copy.deepcopy(model)
    assert other.head.weight is other.embed.weight
    with calque.no_grad():
        other.embed.weight.zero_()
    assert (model.embed.weight.detach().numpy() != 0).any()


def test_batch_norm_follows_the_mode_when_compiled() -> None:
    model = nn.BatchNorm1d(3, momentum=0.5)
    compiled = calque.compile(model)
    x = calque.tensor(np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32))
    out = compiled(x).detach().numpy()
    np.testing.assert_allclose(out.mean(0), 0, atol=1e-6)
    assert model.running_mean is not None
    assert model.num_batches_tracked is not None
    np.testing.assert_allclose(
        model.running_mean.numpy(), 0.5 * x.numpy().mean(0), rtol=1e-5, atol=1e-7
    )
    assert model.num_batches_tracked.item() == 1
    model.eval()
    before = model.running_mean.numpy().copy()
    np.testing.assert_allclose(
        compiled(x).detach().numpy(), F.batch_norm(
            x, model.running_mean, model.running_var, model.weight, model.bias
        ).detach().numpy(),
    )  # fmt: skip
    np.testing.assert_array_equal(model.running_mean.numpy(), before)
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        model.train()(x[:1])
    with pytest.raises(ValueError, match="expected 2D or 3D input"):
        model(x[0])


def test_layers_on_meta_have_only_shapes() -> None:
    layer = nn.Linear(3, 4, device="meta")
    assert layer(calque.zeros(2, 3, device="meta")).shape == (2, 4)
    assert layer.weight.device == "meta"


def test_apply_and_zero_grad() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    seen: list[str] = []
    model.apply(lambda m: seen.append(type(m).__name__))
    assert seen == ["Linear", "ReLU", "Sequential"]
    model(calque.ones(1, 2)).sum().backward()
    assert model[0].bias.grad is not None
    model.zero_grad(set_to_none=False)
    assert model[0].bias.grad.tolist() == [0.0, 0.0]
    model.zero_grad()
    assert model[0].bias.grad is None


def test_embedding_out_of_range() -> None:
    layer = nn.Embedding(3, 2)
    for run in (layer, calque.compile(layer)):
        with pytest.raises(IndexError, match="index out of range"):
            run(calque.tensor([0, 3]))
