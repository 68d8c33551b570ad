"""`SwitchableNorm`: a norm for any network whose kind can be changed between two steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bncore.config.base import NORM_KINDS
from bncore.config.model import Norm
from bncore.nets.forward_mode import ForwardMode
from bncore.nets.norm import NormPosition, check_norm_fits

SWITCHABLE_KINDS = tuple(kind for kind in NORM_KINDS if kind != "weight")
"""All kinds except ``weight``, which belongs to the preceding map; ``lp:<p>`` is accepted as well."""
EVALUATION, TRAINING = ForwardMode(training=False), ForwardMode(training=True, track=True)


class SwitchableNorm(NormPosition):
    """A replacement for `torch.nn.BatchNorm1d`, `BatchNorm2d` or `BatchNorm3d` whose kind `switch` changes.

    `weight` (gamma) and `bias` (beta) stay when the kind changes; the running statistics restart as a
    cumulative average. `state_dict` holds the kind. The preceding map needs no bias: kind `none` is y + beta.

    Arguments:
        num_features: C of the inputs [samples, C] or [samples, C, positions...].
        kind: none, batch, l1, l2, linf, lp:<p>, layer, group, instance, mean_only, variance_only, batch_detached
            or batch_population (`bncore.nets.normalize`).
        eps: constant inside the root of the scale.
        momentum: weight of the newest batch in the running statistics.
        groups: groups of kind `group` if they divide C evenly, else the largest divisor of C below that number.

    Raises:
        ValueError: the kind is none of these.
    """

    def __init__(
        self,
        num_features: int,
        kind: str = "batch",
        *,
        eps: float = 1e-5,
        momentum: float = 0.1,
        groups: int = 8,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        setting = Norm(kind=kind, eps=eps, momentum=momentum, groups=groups)
        super().__init__(
            num_features, positions=True, setting=setting, dtype=dtype or torch.get_default_dtype()
        )
        self.to(device)

    def switch(self, kind: str) -> None:
        """Switch to another kind from the next pass on.

        Raises:
            ValueError: there is no such kind, or its last input leaves that kind a single value to normalize over.
        """
        self.set(self.of_kind(kind))

    def of_kind(self, kind: str) -> Norm:
        """This norm's setting with another kind.

        Raises:
            ValueError: as for `switch`.
        """
        setting = Norm.model_validate({**self.setting.model_dump(), "kind": kind})
        check_norm_fits(setting, self.weight.numel(), positions=self.positions)
        return setting

    def adopt(self, setting: Norm) -> None:
        if setting.kind == "weight":
            raise ValueError("kind: 'weight'; expected another: it divides the weights of the map before it")
        super().adopt(setting)

    def forward(self, y: Tensor, p: ForwardMode | None = None) -> Tensor:
        """gamma * y_hat + beta, of the input's shape."""
        if y.ndim < 2:
            raise ValueError(f"input: {y.ndim} dimensions; expected [samples, channels] or more")
        if self.positions != (y.ndim > 2):
            self.positions = y.ndim > 2
            check_norm_fits(self.setting, self.weight.numel(), positions=self.positions)
        if y.dtype == torch.float16 and self.kind != "batch":
            y = y.float()
        image = y.unsqueeze(-1) if y.ndim == 3 else y.flatten(3) if y.ndim > 4 else y
        return super().forward(image, p or (TRAINING if self.training else EVALUATION)).reshape(y.shape)

    def get_extra_state(self) -> Any:
        return {"kind": self.setting.kind, "averaged": self.averaged}

    def set_extra_state(self, state: Any) -> None:
        self.adopt(self.of_kind(state["kind"]))
        self.averaged = int(state["averaged"])
