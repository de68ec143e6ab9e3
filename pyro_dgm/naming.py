"""Unique names for modules in Pyro's global parameter store.

Pyro keeps parameters in one global table, keyed by name. Two modules under one name share one entry, and
then *the second one silently does not train*. Every model, guide and flow here therefore carries a name of
its own: made when it is built, made anew by ``deepcopy`` and unpickling, and kept when a user's own
:class:`~pyro.nn.PyroModule` adopts the module.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar

import pyro
from pyro.nn import PyroModule
from pyro.params.param_store import param_with_module_name
from pyro.poutine.runtime import am_i_wrapped
from torch import nn
from torch.distributions import constraints

from pyro_dgm.arguments import check_kinds, explains_options

__all__ = ["NamedPyroModule", "unique_name", "unregistered"]

_COUNTERS: defaultdict[str, Iterator[int]] = defaultdict(lambda: itertools.count(1))
_GIVEN: Counter[str] = Counter()
_REGISTERING: ContextVar[bool] = ContextVar("pyro_dgm_registering", default=True)


def unique_name(kind: str, name: str | None = None) -> str:
    """Return a name that no other module of this process got from here.

    Args:
        kind: What the module is, such as ``"vae"``; the base of an automatic name.
        name: A name to use instead. Its second use becomes ``name~2``, and so on.

    Example:
        >>> unique_name("doc_kind"), unique_name("doc_kind"), unique_name("vae", "doc_mine")
        ('doc_kind~1', 'doc_kind~2', 'doc_mine')
    """
    if name is None:
        return f"{kind}~{next(_COUNTERS[kind])}"
    _GIVEN[name] += 1
    return name if _GIVEN[name] == 1 else f"{name}~{_GIVEN[name]}"


@contextmanager
def unregistered() -> Iterator[None]:
    """Run Pyro models without entering their networks into the global parameter store.

    For training loops that own their optimiser and hand it ``module.parameters()``: the store is then
    only a cost, and a way for models to disturb each other.
    """
    token = _REGISTERING.set(False)
    try:
        yield
    finally:
        _REGISTERING.reset(token)


class NamedPyroModule(PyroModule):
    """A :class:`~pyro.nn.PyroModule` whose name in the parameter store is its own, always.

    Plain ``nn.Module`` children are entered into Pyro's parameter store when they are used inside a Pyro
    handler, so that ``pyro.infer.SVI`` trains them without a ``pyro.module`` statement. Outside every
    handler nothing is entered.

    Args:
        name: Prefix of the parameters in Pyro's store; unique by default.
    """

    # What users look for on the module itself and find elsewhere: attribute -> where.
    _elsewhere: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:
            cls.__init__ = _answering(cls, explains_options(cls.__init__))  # type: ignore[method-assign]

    def __init__(self, name: str | None = None) -> None:
        self.__dict__["_given_name"] = name
        super().__init__(unique_name(self._kind(), name))

    @classmethod
    def _kind(cls) -> str:
        return cls.__name__.lower()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._rename(unique_name(self._kind(), self.__dict__.get("_given_name")))

    def _rename(self, name: str) -> None:
        self.__dict__["_pyro_name"] = name
        _name_children(self, name)

    def _pyro_set_supermodule(self, name: str, context: Any) -> None:
        # Adoption by a parent: join its context, keep the own name.
        for module in self.modules():
            if isinstance(module, PyroModule):
                module.__dict__["_pyro_context"] = context
        _name_children(self, self.__dict__["_pyro_name"])

    def __getattr__(self, name: str) -> Any:
        child = self.__dict__.get("_modules", {}).get(name)
        if child is None and name in self._elsewhere:
            raise AttributeError(f"{type(self).__name__} has no {name}: {self._elsewhere[name]}")
        if child is None or isinstance(child, PyroModule):
            return super().__getattr__(name)
        if _REGISTERING.get() and am_i_wrapped():
            _register(child, f"{self.__dict__['_pyro_name']}.{name}")
        return child


def _answering(cls: type, init: Callable[..., None]) -> Callable[..., None]:
    """Let a constructor of this library say which argument is of the wrong type. Others mind their own."""
    if not cls.__module__.startswith("pyro_dgm."):
        return init
    signature = inspect.signature(init)

    @functools.wraps(init)
    def answering(self: Any, *args: Any, **kwargs: Any) -> None:
        check_kinds(type(self).__name__, signature, (self, *args), kwargs)
        init(self, *args, **kwargs)

    return answering


def _name_children(parent: nn.Module, prefix: str) -> None:
    """Give the PyroModules below ``parent`` the names that follow from ``prefix``, but for named ones."""
    for key, child in parent._modules.items():
        if isinstance(child, PyroModule) and not isinstance(child, NamedPyroModule):
            child.__dict__["_pyro_name"] = f"{prefix}.{key}"
            _name_children(child, f"{prefix}.{key}")


def _register(module: nn.Module, prefix: str) -> None:
    """State the trainable parameters of ``module`` as Pyro parameters, and the module as their owner.

    Unlike ``pyro.module``, a stale entry of the store under the same name gives way to the module's own
    tensor: what is computed with is what is trained.
    """
    store = pyro.get_param_store()
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            fullname = param_with_module_name(prefix, name)
            if store._params.get(fullname) is not parameter:
                # As PyroModule does for its own parameters: the very tensor, never a copy of it.
                store._constraints[fullname] = constraints.real
                store._params[fullname] = parameter
                store._param_to_name[parameter] = fullname
            pyro.param(fullname)
