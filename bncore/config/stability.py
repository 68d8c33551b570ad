"""The curvature above which an optimizer's updates of a quadratic become unstable: the edge of stability (Cohen et
al., 2021, appendix A), for the optimizers as defined by torch.optim."""

from __future__ import annotations

import math

from bncore.config.model import Optim


def sgd_threshold(
    lr: float,
    *,
    momentum: float = 0.0,
    dampening: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> float:
    """The largest lambda for which the iterates of torch.optim.SGD on lambda * w^2 / 2 do not grow; inf at lr = 0.

    Weight decay wd adds wd * w to the gradient, so everything below holds for h = lambda + wd. With a = lr * h,
    momentum mu and dampening d:

    - gradient descent: w' = (1 - a) w, and |1 - a| <= 1 as long as a <= 2;
    - heavy ball: b' = mu b + (1 - d) h w, w' = w - lr b', which is w'' = (1 + mu - (1 - d) a) w' - mu w. The roots
      of z^2 - (1 + mu - (1 - d) a) z + mu lie in the unit disk as long as |1 + mu - (1 - d) a| <= 1 + mu:
      a <= (2 + 2 mu) / (1 - d);
    - Nesterov (d = 0): b' = mu b + h w, w' = w - lr (h w + mu b'). The matrix of (w, b) has the trace
      1 + mu - a (1 + mu) and the determinant mu (1 - a); trace >= -1 - determinant as long as
      a <= (2 + 2 mu) / (1 + 2 mu), below which the determinant stays within (-1, 1).
    """
    if lr == 0 or dampening == 1:
        return math.inf
    factor = 2 + 2 * momentum
    factor /= 1 + 2 * momentum if nesterov else 1 - dampening if momentum else 1
    return factor / lr - weight_decay


def stability_threshold(optim: Optim, lr: float, *, penalized: bool = False) -> float:
    """The eigenvalue of the Hessian above which a run's updates of a quadratic grow, at learning rate `lr`.

    nan if no eigenvalue of the Hessian itself decides: for Adam, and for updates of a given relative length.

    Arguments:
        penalized: whether the Hessian is that of the loss with its weight penalty. If not, the penalty's curvature
            is subtracted from the threshold, which is a lower bound if the penalty acts only on the layers'
            weights.
    """
    if optim.kind != "sgd" or optim.relative_update:
        return math.nan
    shift = 0.0 if penalized else optim.weight_decay
    return sgd_threshold(lr, momentum=optim.momentum, weight_decay=shift)


def threshold_label(threshold: float, two_over_lr: float) -> str:
    """A threshold in units of 1/lr: ``2/lr`` for gradient descent, ``3.8/lr`` with momentum 0.9."""
    return f"{2 * threshold / two_over_lr:.3g}/lr"
