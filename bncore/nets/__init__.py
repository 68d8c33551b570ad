"""Networks as ordered lists of layers, their norms and their noise."""

from bncore.nets.build import build
from bncore.nets.forward_mode import ForwardMode
from bncore.nets.layered import LayeredNet
from bncore.nets.norm import NormPosition
from bncore.nets.objective import accuracy, criterion, decays

__all__ = [
    "ForwardMode",
    "LayeredNet",
    "NormPosition",
    "accuracy",
    "build",
    "criterion",
    "decays",
]
