"""Theorems 4.1, 4.2, 4.4 and Lemma 4.5 of Santurkar et al. (2018), checked on networks."""

from bncore.probes.theory.counter_example import CounterExample, counter_example
from bncore.probes.theory.identities import Lemma45, Theorem41, Theorem42, Theorem44, lemma_45
from bncore.probes.theory.probe import TheoryProbe
from bncore.probes.theory.table import TheoryRow, theory_table

__all__ = [
    "CounterExample",
    "Lemma45",
    "Theorem41",
    "Theorem42",
    "Theorem44",
    "TheoryProbe",
    "TheoryRow",
    "counter_example",
    "lemma_45",
    "theory_table",
]
