"""The instruments' settings: one part each, with its cadence first."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bncore.config.base import ConfigModel, Count, Flag, NonNegative, NonNegativeCount, Positive


class Cadence(ConfigModel):
    """When an instrument measures."""

    every: NonNegativeCount = 0
    """Measure at every step that is a multiple of this; 0: never, whatever the fields below say."""
    dense_every: NonNegativeCount = 0
    """Measure also at the multiples of this before step `dense_until`; 0: no."""
    dense_until: NonNegativeCount = 0
    """The first step that is not of the dense beginning."""
    at: tuple[NonNegativeCount, ...] = ()
    """Measure at these steps too."""

    def due(self, step: int) -> bool:
        """Whether `step` is one to measure at."""
        if not self.every:
            return False
        dense = bool(self.dense_every) and step < self.dense_until and step % self.dense_every == 0
        return step % self.every == 0 or dense or step in self.at


class Ics(Cadence):
    """Internal covariate shift (Def. 2.1 of Santurkar et al., 2018)."""

    layers: tuple[Count, ...] = ()
    """Numbers of the layers, from 1, as in the figures; none given: all."""
    group: NonNegativeCount = 0
    """How many layers' gradients are computed in one pass; more is faster and takes more memory. 0: as many as
    fit into 2.5 times the memory of a training step; on a GPU with much memory to spare, into an eighth of
    that (the journal tells, and whoever repeats the run measures alike)."""
    floor_every: NonNegativeCount = 10
    """Measure the noise floor (the same batch in another order) at every so many measurements; 0: never."""
    penalty: Flag = False
    """Whether the loss includes the weight penalty."""
    rescale: NonNegative = 0.0
    """Relative length ||W' - W|| / ||W|| that each preceding layer's weight update is rescaled to, a control
    for the size of the updates; 0: the update as the optimiser made it."""


class Landscape(Cadence):
    """Loss and gradient along a direction (appendix A.2.2 of Santurkar et al., 2018)."""

    multiples: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.5, 1.0, 2.0, 4.0)
    """Step lengths, in learning rates, at which loss and gradient are taken."""
    loss_multiples: tuple[Positive, ...] = ()
    """Further step lengths at which the loss alone is taken."""
    direction: Literal["gradient", "update", "random", "hessian"] = "gradient"
    """Along the step's gradient, the optimiser's real update, a random vector, or the Hessian's top eigenvector
    (found as `probes.sharpness` says), each at the distances multiple * lr * ||gradient||."""
    floor_every: NonNegativeCount = 10
    """Measure the noise floor (the same batch in another order) at every so many measurements; 0: never."""
    penalty: Flag = False
    """Whether the loss includes the weight penalty, as the paper's does: at every point, and in every gradient."""


class Activations(Cadence):
    """Distributions of the layers' outputs."""

    layers: tuple[Count, ...] = ()
    """Numbers of the layers, from 1, as in the figures; none given: all with a norm position."""
    bins: Count = 64
    """Bins of a histogram."""


class Theory(Cadence):
    """The paper's theorems, checked at the BatchNorm layers of the network in training."""

    layers: tuple[Count, ...] = ()
    """Numbers of the layers, from 1, as in the figures; none given: all with batch normalisation."""
    neurons: NonNegativeCount = 4
    """Units of each layer for which Theorem 4.2 is checked on its own."""


class Sharpness(Cadence):
    """The largest Hessian eigenvalue and the lengths of gradients, weights and updates."""

    iterations: Count = 30
    """Hessian products at most per measurement."""
    tolerance: Positive = 1e-3
    """Relative residual at which the eigenvalue counts as converged."""


class Probes(ConfigModel):
    """The instruments and their cadences. `--set probes=none` switches every one off."""

    ics: Ics = Ics()
    """Internal covariate shift."""
    landscape: Landscape = Landscape()
    """Loss band, gradient predictiveness, effective beta-smoothness."""
    activations: Activations = Activations()
    """Histograms and moments."""
    theory: Theory = Theory()
    """Theorems 4.1, 4.2 and 4.4."""
    sharpness: Sharpness = Sharpness()
    """Curvature."""
