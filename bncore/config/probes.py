"""The probes' settings, each with its cadence first, and the measures that each probe journals."""

from __future__ import annotations

from functools import partial
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from bncore.config.base import ConfigModel, Count, Flag, NonNegative, NonNegativeCount, Positive
from bncore.config.measure import Measure, ReferenceLine


class Cadence(ConfigModel):
    """The steps at which a probe measures."""

    measures: ClassVar[tuple[Measure, ...]] = ()
    """The measures it journals, for charts, tags and tables."""

    every: NonNegativeCount = 0
    """Measure at every step that is a multiple of this; 0: never, whatever the other fields are."""
    dense_every: NonNegativeCount = 0
    """Also measure at multiples of this before step `dense_until`; 0: do not."""
    dense_until: NonNegativeCount = 0
    """Step at which the dense phase at the beginning ends (exclusive)."""
    at: tuple[NonNegativeCount, ...] = ()
    """Further steps at which to measure."""

    def due(self, step: int) -> bool:
        """Whether to measure at `step`."""
        if not self.every:
            return False
        dense = bool(self.dense_every) and step < self.dense_until and step % self.dense_every == 0
        return step % self.every == 0 or dense or step in self.at


_layer = partial(Measure, per="layer")
_EDGE = ReferenceLine("stability_threshold", "2/lr")
_SHORTEST = ReferenceLine("one_over_a_min", "1/a_min")


class Ics(Cadence):
    """Internal covariate shift (Def. 2.1 of Santurkar et al., 2018)."""

    measures: ClassVar[tuple[Measure, ...]] = (
        Measure(
            "ics_l2", "ICS ‖G − G′‖", "l2", symbol="‖G − G′‖", unit="loss/θ", per="layer", log=True,
            floor="floor", better="lower", source="Def. 2.1, Fig 3",
        ),
        Measure(
            "ics_cosine", "ICS cos(G, G′)", "cosine", symbol="cos(G, G′)", per="layer", better="higher",
            source="Def. 2.1, Fig 3",
        ),
        Measure(
            "ics_relative", "ICS ‖G − G′‖/‖G‖", "relative", symbol="‖G − G′‖/‖G‖", per="layer", log=True,
            floor="floor", floor_unit="l2", better="lower", source="Def. 2.1, by ‖G‖",
        ),
    )  # fmt: skip

    layers: tuple[Count, ...] = ()
    """Numbers of the layers, from 1, as in the figures; default: all."""
    group: NonNegativeCount = 0
    """Number of layers whose gradients are computed in one pass; more is faster and takes more memory. 0: as
    many as fit into 2.5 times the memory of a training step or, on a GPU with much free memory, into an eighth
    of that free memory (recorded in the journal, so that repeated runs measure alike)."""
    floor_every: NonNegativeCount = 10
    """Measure the noise floor (the same batch in another order) once per this many measurements; 0: never."""
    penalty: Flag = False
    """Whether the loss includes the weight penalty."""
    rescale: NonNegative = 0.0
    """Relative length ||W' - W|| / ||W|| to which the weight updates of the preceding layers are rescaled, as a
    control for the size of the updates; 0: the update as the optimizer made it."""


class Landscape(Cadence):
    """Loss and gradient along a direction (appendix A.2.2 of Santurkar et al., 2018)."""

    measures: ClassVar[tuple[Measure, ...]] = (
        Measure(
            "loss_band", "Loss along the gradient", "loss_min", high="loss_max", symbol="L(θ − a g)", unit="loss",
            log=True, source="A.2.2, Fig 4a",
        ),
        Measure(
            "gradient_predictiveness", "Gradient predictiveness", "grad_diff_min", high="grad_diff_max",
            symbol="‖Δg‖", unit="loss/θ", log=True, floor="floor", better="lower", source="A.2.2",
            in_paper=Measure(
                "gradient_predictiveness", "Gradient predictiveness", "grad_diff_sum_min",
                high="grad_diff_sum_max", symbol="Σ‖Δgᵢ‖", unit="loss/θ", log=True, better="lower",
                source="A.2.2, Fig 4b",
            ),
        ),
        Measure(
            "beta", "Effective β-smoothness", symbol="β", unit="loss/θ²", log=True, lines=(_EDGE, _SHORTEST),
            better="lower", source="A.2.2, Fig 4c: max ‖Δg‖ / (a ‖g‖)",
        ),
        Measure(
            "lipschitz", "Effective Lipschitz constant", symbol="max |ΔL| / (a ‖g‖)", unit="loss/θ", log=True,
            better="lower", source="section 3.1",
        ),
        Measure(
            "relative_by_length", "‖Δg‖/‖g‖ by step length", "relative", symbol="‖Δg‖/‖g‖", per="length", log=True,
            lines=(ReferenceLine("stability_threshold", "at a = lr the edge of stability", times_lr=True),),
            better="lower", source="Fig 11, by ‖g‖", detail=True,
        ),
        Measure(
            "difference_by_length", "‖Δg‖ by step length", "grad_diff", symbol="‖Δg‖", unit="loss/θ",
            per="length", log=True, better="lower", source="A.2.2", detail=True,
            in_paper=Measure(
                "difference_by_length", "Σ‖Δgᵢ‖ by step length", "grad_diff_sum", symbol="Σ‖Δgᵢ‖", unit="loss/θ",
                per="length", log=True, better="lower", source="Fig 11", detail=True,
            ),
        ),
    )  # fmt: skip

    multiples: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.5, 1.0, 2.0, 4.0)
    """Step sizes, as multiples of the learning rate, at which loss and gradient are evaluated."""
    loss_multiples: tuple[Positive, ...] = ()
    """Further step sizes, as multiples of the learning rate, at which only the loss is evaluated."""
    direction: Literal["gradient", "update", "random", "hessian"] = "gradient"
    """Direction: the step's gradient, the optimizer's actual update, a random vector, or the Hessian's top
    eigenvector (computed with the settings of `probes.sharpness`), each at the distances multiple * lr *
    ||gradient||."""
    floor_every: NonNegativeCount = 10
    """Measure the noise floor (the same batch in another order) once per this many measurements; 0: never."""
    penalty: Flag = False
    """Whether the loss includes the weight penalty, as the paper's does, at every point and in every gradient."""


class Activations(Cadence):
    """Distributions of the layers' outputs."""

    measures: ClassVar[tuple[Measure, ...]] = (
        _layer("mean", "Mean of the output", symbol="μ", unit="output", source="Fig 1c"),
        _layer("variance", "Variance of the output", symbol="σ²", unit="output²", log=True, source="Fig 1c"),
        _layer(
            "dead",
            "Share of dead units",
            symbol="dead",
            better="lower",
            source="0 after the activation for the whole batch",
        ),
        *(
            _layer(key, title, symbol=symbol, unit=unit, log=log, source=source, detail=True)
            for key, title, symbol, unit, log, source in (
                ("mean_step", "|Δμ| between measurements", "|Δμ|", "output", True, "Fig 8a"),
                ("variance_step", "|Δσ²| between measurements", "|Δσ²|", "output²", True, "Fig 8a"),
                ("mean_drift", "|μ − μ₀|", "|μ − μ₀|", "output", False, "Fig 8b"),
                ("variance_drift", "|σ² − σ₀²|", "|σ² − σ₀²|", "output²", False, "Fig 8b"),
                ("unit_mean", "Mean of one unit", "μ", "output", False, "Fig 8"),
                ("unit_variance", "Variance of one unit", "σ²", "output²", True, "Fig 8"),
            )
        ),
    )

    layers: tuple[Count, ...] = ()
    """Numbers of the layers, from 1, as in the figures; default: all with a norm position."""
    bins: Count = 64
    """Number of bins per histogram."""


class Theory(Cadence):
    """The paper's theorems, checked at the network's BatchNorm layers during training."""

    measures: ClassVar[tuple[Measure, ...]] = (
        _layer(
            "theory_41_error", "Thm 4.1: relative error as corrected", "lipschitz_error", log=True, better="lower",
            source="Theorem 4.1, an equality",
        ),
        _layer(
            "theory_reduction", "Thm 4.1: ‖∇L̂‖² over its scale part", "lipschitz_left", over="lipschitz_scale",
            source="Theorem 4.1", detail=True,
        ),
        _layer(
            "theory_printed_fails", "Thm 4.1: fails as printed", "printed_fails", source="Theorem 4.1",
            detail=True,
        ),
        _layer(
            "theory_42_error", "Thm 4.2: relative error", "hessian_error", log=True, better="lower",
            source="Theorem 4.2", detail=True,
        ),
        _layer(
            "theory_44", "Thm 4.4: gradient over its bound", "worst_actual", over="worst_bound",
            source="Theorem 4.4", detail=True,
        ),
    )  # fmt: skip

    layers: tuple[Count, ...] = ()
    """Numbers of the layers, from 1, as in the figures; default: all with batch normalization."""
    neurons: NonNegativeCount = 4
    """Number of units per layer for which Theorem 4.2 is also checked one by one."""


class Sharpness(Cadence):
    """The largest Hessian eigenvalue and the norms of gradients, weights and updates."""

    measures: ClassVar[tuple[Measure, ...]] = (
        Measure(
            "sharpness", "Sharpness λ_max", "eigenvalue", symbol="λ_max", unit="loss/θ²", log=True, lines=(_EDGE,),
            source="largest Hessian eigenvalue; Cohen et al. (2021)",
        ),
        _layer("layer_grad_norm", "‖∇_W L‖", symbol="‖∇_W L‖", unit="loss/θ", log=True, detail=True),
        _layer("weight_norm", "‖W‖", symbol="‖W‖", unit="θ", detail=True),
        _layer("relative_update", "‖ΔW‖ / ‖W‖", symbol="‖ΔW‖/‖W‖", log=True, detail=True),
        _layer("effective_lr", "lr / ‖W‖²", symbol="lr/‖W‖²", log=True, detail=True),
    )  # fmt: skip

    iterations: Count = 30
    """Maximum number of Hessian products per measurement."""
    tolerance: Positive = 1e-3
    """Relative residual at which the eigenvalue counts as converged."""


class Probes(ConfigModel):
    """The probes and their cadences. `--set probes=none` switches all of them off."""

    ics: Ics = Ics()
    """Internal covariate shift."""
    landscape: Landscape = Landscape()
    """Loss band, gradient predictiveness, effective beta-smoothness."""
    activations: Activations = Activations()
    """Histograms and moments of the layers' outputs."""
    theory: Theory = Theory()
    """Theorems 4.1, 4.2 and 4.4."""
    sharpness: Sharpness = Sharpness()
    """Largest Hessian eigenvalue."""
