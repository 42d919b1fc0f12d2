"""torch's optimizers without torch's wrappers for its compiler.

A wrapped method loads the compiler when it is first called, which is a quarter of the time until a process trains.
Nothing here is called from compiled code.
"""

from inspect import unwrap

import torch


class Uncompiled(torch.optim.Optimizer):
    """Base class of all optimizers, with torch's methods unwrapped."""

    add_param_group = unwrap(torch.optim.Optimizer.add_param_group)
    state_dict = unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = unwrap(torch.optim.Optimizer.load_state_dict)
    zero_grad = unwrap(torch.optim.Optimizer.zero_grad)


class Adam(Uncompiled, torch.optim.Adam):
    """Kingma & Ba (2015)."""

    step = torch.no_grad()(unwrap(torch.optim.Adam.step))


class SGD(Uncompiled, torch.optim.SGD):
    """Stochastic gradient descent with Nesterov's momentum."""

    step = torch.no_grad()(unwrap(torch.optim.SGD.step))
