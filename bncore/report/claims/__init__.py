"""The paper's claims, each judged by the measurements of runs; `CLAIMS` in `judging` is their table."""
