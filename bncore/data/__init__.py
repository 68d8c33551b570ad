"""CIFAR-10, image trees, synthetic images and Gaussian regression, resident on the device."""

from bncore.data.cifar import fetch
from bncore.data.dataset import Dataset, Split
from bncore.data.errors import DataError
from bncore.data.load import load
from bncore.data.settle import Settled, foresee, settle, title_of

__all__ = ["DataError", "Dataset", "Settled", "Split", "fetch", "foresee", "load", "settle", "title_of"]
