"""The norm position: owns gamma, beta and the running statistics, whichever kind of norm is active."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from bncore.config.base import largest_divisor, lp_exponent
from bncore.config.model import Norm
from bncore.nets.forward_mode import ForwardMode
from bncore.nets.noise import is_channels_last
from bncore.nets.normalize import NORMS, PER_CHANNEL, WITHOUT_STATISTICS, NormState

_MOVING = -1


class NormPosition(nn.Module):
    """One norm position. `weight` is gamma, `bias` is beta, as in torch.nn.BatchNorm2d.

    Both live as long as the run. A kind that does not use one of them leaves it without a gradient, so
    that no optimizer moves or decays it.

    Arguments:
        channels: C, the length of gamma, beta and the running statistics.
        positions: whether inputs are [samples, C, height, width] rather than [samples, C].
        setting: the initial norm; see `set`.
        dtype: data type of parameters and statistics.
    """

    weight: nn.Parameter
    bias: nn.Parameter
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, *, positions: bool, setting: Norm, dtype: torch.dtype) -> None:
        super().__init__()
        self.positions = positions
        self.weight = nn.Parameter(torch.ones(channels, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(channels, dtype=dtype))
        self.register_buffer("running_mean", torch.zeros(channels, dtype=dtype))
        self.register_buffer("running_var", torch.ones(channels, dtype=dtype))
        self.averaged = _MOVING
        """Batches in the cumulative average since the last switch; -1 once the moving average applies."""
        self.adopt(setting)

    def set(self, setting: Norm) -> None:
        """Switch to another norm from the next pass on.

        gamma and beta stay. If the kind or the centering changes, the running statistics restart as a cumulative
        average of the next round(1/momentum) tracked batches and then continue as the usual moving average.

        Raises:
            ValueError: the kind would have a single value to normalize over (instance norm of a linear layer).
        """
        restart = (setting.kind, setting.centred) != (self.setting.kind, self.setting.centred)
        self.adopt(setting)
        if restart:
            self.running_mean.zero_()
            self.running_var.fill_(1.0)
            self.averaged = 0
        if self.gamma is None:
            self.weight.grad = None
        if self.beta is None:
            self.bias.grad = None

    @property
    def constant_momentum(self) -> bool:
        """Whether the next batch gets the same weight in the running statistics as every later batch."""
        return self.averaged == _MOVING or self.kind in WITHOUT_STATISTICS

    def adopt(self, setting: Norm) -> None:
        """Switch to another norm, leaving the running statistics as they are; runs use `set`."""
        check_norm_fits(setting, self.weight.numel(), positions=self.positions)
        exponent = lp_exponent(setting.kind)
        self.setting = setting
        self.exponent = exponent or 0.0
        self.groups = largest_divisor(self.weight.numel(), setting.groups)
        self.kind = "lp" if exponent else setting.kind
        self.function = NORMS[self.kind]
        learned = setting.affine == "learned"
        self.uses_gamma = learned and setting.kind != "none"
        self.uses_beta = learned and (setting.kind != "none" or setting.bias)

    @property
    def gamma(self) -> Tensor | None:
        """The gamma in use; None if it is unused (kind none, frozen)."""
        return self.weight if self.uses_gamma else None

    @property
    def beta(self) -> Tensor | None:
        """The beta in use; None if it is unused (frozen, kind none without bias)."""
        return self.bias if self.uses_beta else None

    def normalize(self, y: Tensor, gamma: Tensor | None, beta: Tensor | None, p: ForwardMode) -> Tensor:
        """The norm's output for y with the given gamma and beta; `forward` passes the module's own.

        Arguments:
            y: [samples * chains, C] or [samples * chains, C, height, width].
            gamma, beta: (C,), or None for 1 and 0.
            p: mode of the pass; `p.track` updates the running statistics.
        """
        if y.dtype == torch.bfloat16 and self.kind != "batch":  # batch_norm uses float32 itself
            y = y.float()
        if p.chains == 1 or not p.training or self.kind in WITHOUT_STATISTICS:
            return self.function(y, self._state(gamma, beta, p))
        if self.kind not in PER_CHANNEL:
            return self._chain_by_chain(y, gamma, beta, p)
        # A sample's chains are adjacent in memory: viewed as channels, they get separate statistics without a
        # copy.
        details = y.view(-1, p.chains, *y.shape[1:]).flatten(1, 2)
        gamma = None if gamma is None else gamma.repeat(p.chains)
        beta = None if beta is None else beta.repeat(p.chains)
        z: Tensor = self.function(details, self._state(gamma, beta, p))
        z = z.view(-1, *y.shape[1:])
        # Noise is drawn per layout, which a copy made above must not change.
        return z.contiguous(memory_format=torch.channels_last) if is_channels_last(y) else z

    def _chain_by_chain(self, y: Tensor, gamma: Tensor | None, beta: Tensor | None, p: ForwardMode) -> Tensor:
        state = self._state(gamma, beta, replace(p, chains=1))
        chains = y.view(-1, p.chains, *y.shape[1:]).unbind(1)
        z = torch.stack([self.function(chain, state) for chain in chains], dim=1).flatten(0, 1)
        return z.contiguous(memory_format=torch.channels_last) if is_channels_last(y) else z

    def forward(self, y: Tensor, p: ForwardMode) -> Tensor:
        """gamma * y_hat + beta with this module's own gamma and beta."""
        return self.normalize(y, self.gamma, self.beta, p)

    def _state(self, gamma: Tensor | None, beta: Tensor | None, p: ForwardMode) -> NormState:
        mean, var = self.running_mean, self.running_var
        if p.chains > 1:
            mean, var = mean.repeat(p.chains), var.repeat(p.chains)
        s = self.setting
        momentum = self._momentum() if p.track else None
        return NormState(
            gamma,
            beta,
            mean,
            var,
            p.training,
            momentum,
            s.eps,
            self.exponent,
            s.centred,
            self.groups,
            s.fused,
        )

    def _momentum(self) -> float:
        """Count this batch and return its weight in the running statistics."""
        if self.constant_momentum:
            return self.setting.momentum
        self.averaged += 1
        weight = 1 / self.averaged
        if self.averaged >= round(1 / self.setting.momentum):
            self.averaged = _MOVING
        return weight

    def get_extra_state(self) -> Tensor:
        """`averaged`, for checkpoints; otherwise an int, because reading a device tensor would synchronize."""
        return torch.tensor(self.averaged)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore `averaged` from a checkpoint."""
        self.averaged = int(state)

    def extra_repr(self) -> str:
        """Channels and kind, as `print(net)` shows them."""
        return f"{self.weight.numel()}, kind={self.setting.kind}"


def check_norm_fits(setting: Norm, channels: int, *, positions: bool) -> None:
    """Refuse a norm that would normalize single values, which gives zero, or that is unavailable here.

    Raises:
        ValueError: the norm does not fit; names the field and what is accepted.
    """
    if setting.fused and find_spec("triton") is None:
        raise ValueError("norm.fused: True; expected False where Triton is not installed")
    if positions:
        return
    if setting.kind == "instance":
        raise ValueError("norm.kind: 'instance'; expected another kind where a linear layer is normalized")
    if setting.kind == "layer" and channels == 1:
        raise ValueError(
            "norm.kind: 'layer'; expected another kind where a linear layer of 1 feature is normalized"
        )
    if setting.kind == "group" and largest_divisor(channels, setting.groups) == channels:
        raise ValueError(
            f"norm.groups: {setting.groups}; expected fewer than the {channels} features of a linear layer"
        )
