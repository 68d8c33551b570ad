"""Theorems 4.1, 4.2, 4.4 and Lemma 4.5 of Santurkar et al. (2018), checked on networks."""
