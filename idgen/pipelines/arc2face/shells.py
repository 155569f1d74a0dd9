"""Networks with some of their parts replaced, for one call: nothing of the network itself is changed."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn


def replaced(module: nn.Module, new: Mapping[str, nn.Module]) -> Any:
    """The same module with other ones at some paths, as `named_modules` calls them; everything else is shared."""
    if "" in new:
        return new[""]
    below: dict[str, dict[str, nn.Module]] = {}
    for path, other in new.items():
        name, _, rest = path.partition(".")
        below.setdefault(name, {})[rest] = other
    shell = copy.copy(module)
    if "_old_forward" in vars(shell):  # a hook of accelerate's, such as of CPU offload, which runs what it is bound to
        object.__setattr__(shell, "_old_forward", type(module).forward.__get__(shell))
        object.__setattr__(shell, "forward", partial(vars(module)["forward"].func, shell))
    others = {name: replaced(module.get_submodule(name), some) for name, some in below.items()}
    shell._modules = {**module._modules, **others}
    return shell
