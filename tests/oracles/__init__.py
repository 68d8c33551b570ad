"""Independent float64 oracles: plain implementations of the definitions, sharing no code with `bncore`.

Other tests import them as `from oracles.ics import ics` (tests/ is on the path of packaged test folders).
"""
