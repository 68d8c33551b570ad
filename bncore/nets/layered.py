"""The network: an ordered list of layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

from torch import Tensor, nn

from bncore.config.model import Noise, Norm
from bncore.nets.forward_mode import ForwardMode
from bncore.nets.layer import Layer
from bncore.nets.noise import NoiseSource
from bncore.nets.norm import NormPosition, check_norm_fits

TRAINING_PASS = ForwardMode()


class LayeredNet(nn.Module):
    """Layers applied one after another.

    The module has no mode (`train()` and `eval()` have no effect): each pass is given its `ForwardMode`.

    Arguments:
        layers: the layers, in order; `layers[0]` is layer 1 of the figures.
        inputs: the shape of one sample.
        seed: seed of the noise draws.
        noise: the initial noise; see `set_noise`.
    """

    layers: Sequence[Layer]

    def __init__(self, layers: Iterable[Layer], *, inputs: tuple[int, ...], seed: int, noise: Noise) -> None:
        super().__init__()
        self.layers = cast(Sequence[Layer], nn.ModuleList(layers))
        self.inputs = inputs
        self.seed = seed
        self.set_noise(noise)

    def forward(self, x: Tensor, p: ForwardMode = TRAINING_PASS) -> Tensor:
        """Outputs (logits or regression outputs), [samples * chains, outputs].

        Raises:
            ValueError: the samples in `x` do not have the shape that the network was built for.
        """
        if x.shape[1:] != self.inputs:
            raise ValueError(f"inputs: samples of shape {tuple(x.shape[1:])}; expected {self.inputs}")
        for layer in self.layers:
            # Not layer(x, p): the hook machinery costs a deep, narrow network 5 % of its step.
            x = layer.forward(x, p)
        return x

    @property
    def norms(self) -> list[NormPosition]:
        """The norm positions, in layer order."""
        return [layer.norm for layer in self.layers if layer.norm is not None]

    @property
    def noise_sources(self) -> list[NoiseSource]:
        """The noise sources, in layer order."""
        places = (
            (layer.noise_input, layer.noise_before_norm, layer.noise_after_norm) for layer in self.layers
        )
        return [source for sources in places for source in sources if source is not None]

    def check_norm(self, setting: Norm) -> None:
        """Check that this norm fits every norm position.

        Raises:
            ValueError: the norm does not fit some layer.
        """
        for norm in self.norms:
            check_norm_fits(setting, norm.weight.numel(), positions=norm.positions)

    def set_norm(self, setting: Norm) -> None:
        """Switch every norm position to another norm from the next pass on; see `NormPosition.set`.

        Raises:
            ValueError: the norm does not fit some layer; nothing has changed then.
        """
        self.check_norm(setting)
        for norm in self.norms:
            norm.set(setting)

    def set_noise(self, setting: Noise) -> None:
        """Inject this noise from the next pass on; the buffers of the previous noise are released."""
        normed = [i for i, layer in enumerate(self.layers) if layer.norm is not None]
        places = {"input": [0], "last_norm": normed[-1:]}.get(setting.position, normed)
        for i, layer in enumerate(self.layers):
            noisy = setting.on and i in places
            source = NoiseSource(setting, seed=self.seed, layer=i) if noisy else None
            after = setting.position in ("after_norm", "last_norm")
            layer.noise_input = source if setting.position == "input" else None
            layer.noise_before_norm = source if setting.position == "before_norm" else None
            layer.noise_after_norm = source if after else None

    @contextmanager
    def with_settings(self, norm: Norm, noise: Noise) -> Iterator[None]:
        """Temporarily use another norm and other noise; parameters and running statistics are not touched.

        Raises:
            ValueError: the norm does not fit some layer.
        """
        self.check_norm(norm)
        settings = [(one, one.setting) for one in self.norms]
        sources = [
            (layer, layer.noise_input, layer.noise_before_norm, layer.noise_after_norm)
            for layer in self.layers
        ]
        try:
            for one, _ in settings:
                one.adopt(norm)
            self.set_noise(noise)
            yield
        finally:
            for one, setting in settings:
                one.adopt(setting)
            for layer, *own in sources:
                layer.noise_input, layer.noise_before_norm, layer.noise_after_norm = own

    def active_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters that are used under the current norm, by name.

        gamma is left out under kind none, gamma and beta when frozen. Weight penalties are sums over these.
        """
        idle = {id(n.weight) for n in self.norms if not n.uses_gamma}
        idle |= {id(n.bias) for n in self.norms if not n.uses_beta}
        return {name: value for name, value in self.named_parameters() if id(value) not in idle}
