"""Networks as ordered lists of layers, their norms and their noise."""

from bncore.nets.build import NETS, build
from bncore.nets.forward import Pass
from bncore.nets.initialise import INITS
from bncore.nets.layer import Layer
from bncore.nets.layered import LayeredNet
from bncore.nets.norm import Norm
from bncore.nets.normalise import NORMS, NormState
from bncore.nets.objective import accuracy, criterion, decays

__all__ = [
    "INITS",
    "NETS",
    "NORMS",
    "Layer",
    "LayeredNet",
    "Norm",
    "NormState",
    "Pass",
    "accuracy",
    "build",
    "criterion",
    "decays",
]
