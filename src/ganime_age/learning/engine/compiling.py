"""torch.compile with a way back: what does not compile, or fails in a compiled step, goes on as it was."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


class Compiled:
    """Networks whose `forward` is compiled until `undo`. backend: of torch.compile."""

    def __init__(self, networks: Iterable[nn.Module], backend: str = "inductor"):
        self.networks = list(networks)
        for network in self.networks:
            # A graph for each size of a batch, of which a task has few: graphs for any size fail where a layer's
            # strides depend on it, as those of padding in channels_last do.
            network.forward = torch.compile(network.forward, backend=backend, dynamic=False)

    def __bool__(self) -> bool:
        return bool(self.networks)

    def undo(self) -> None:
        """Every network runs as it was before."""
        for network in self.networks:
            del network.forward  # the instance's, which hides the class's
        self.networks = []
