"""Journal warnings about what differs in an observed loop from one of our own runs."""

from __future__ import annotations

from itertools import chain

from torch import nn

from bncore.config.probes import Probes
from bncore.external.ready_controls import is_noise
from bncore.external.recomputed_step import RecomputedStep


def announcements(net: nn.Module, probes: Probes, recomputed: RecomputedStep) -> dict[str, str]:
    """Warnings to give once per run, by key."""
    view, fidelity = recomputed.view, recomputed.fidelity
    texts = {}
    if probes.ics.every and type(net) is not nn.Sequential:
        texts["ics"] = (
            f"ics: the network is no nn.Sequential, so it is measured layer by layer, at "
            f"{len(probes.ics.layers or view.weights)} forward and backward passes per measurement, every "
            f"{probes.ics.every} steps"
        )
    if any(micro.draws is not None for micro in view.micro_batches):
        texts["draws"] = (
            "the forward pass draws at random: probes make it with the step's own draws; there is no noise "
            "floor, because in another order the samples would meet each other's draws"
        )
    if abs(fidelity.scale - 1) > fidelity.tolerance:
        how = "clipped or scaled down" if fidelity.scale < 1 else "scaled up"
        texts["scale"] = (
            f"the gradient is {how} before the update, here to {fidelity.scale:.3g} of that of the "
            "loss: grad_norm is what is left of it, probes measure that of the loss"
        )
    if not fidelity.faithful:
        texts["fidelity"] = (
            f"the loss's gradient, recomputed, deviates by {fidelity.deviation:.3g} of its length from the "
            f"loop's own, where rounding explains {fidelity.tolerance:.2g}: they measure the loss as given"
        )
    if fidelity.loss_deviation > fidelity.tolerance:
        texts["loss"] = (
            f"the recorded loss deviates by {fidelity.loss_deviation:.3g} of its size from that of the batch: "
            "a loss that is scaled, divided for accumulation or holds a penalty is another"
        )
    if view.rates is not None:
        texts["rates"] = (
            "groups of parameters have learning rates of their own: the landscape moves each parameter by its "
            f"own rate, and its unit of length is ||rates * g|| / ||g||, here {view.lr:.4g}"
        )
    if view.processes.count > 1 and not view.processes.joined:
        texts["batch"] = (
            f"batch: that of the first of {view.processes.count} processes alone, whose loss the probes "
            "measure; the loop's gradient is the mean over the processes (batch='global' measures that of all)"
        )
    tables = [(m._forward_hooks, m._forward_pre_hooks, m._backward_hooks) for m in net.modules()]
    if not all(is_noise(hook) for table in chain(*tables) for hook in table.values()):
        texts["hooks"] = "the model has hooks of its own: the probes' passes call them too"
    return texts
