"""Independent float64 oracles: the definitions written out plainly, sharing no code with `bncore`.

Other tests import them as `from oracles.ics import ics` (tests/ is on the path of packaged test folders).
"""
