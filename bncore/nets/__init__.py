"""Networks as ordered lists of layers, their norms and their noise."""

from bncore.nets.build import INITS, NETS, build
from bncore.nets.forward_mode import ForwardMode
from bncore.nets.layer import Layer
from bncore.nets.layered import LayeredNet
from bncore.nets.norm import NormPosition
from bncore.nets.normalize import NORMS, NormState
from bncore.nets.objective import accuracy, criterion, decays

__all__ = [
    "INITS",
    "NETS",
    "NORMS",
    "ForwardMode",
    "Layer",
    "LayeredNet",
    "NormPosition",
    "NormState",
    "accuracy",
    "build",
    "criterion",
    "decays",
]
