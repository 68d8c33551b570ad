"""The paper's claims, each weighed by what runs measured; `CLAIMS` in `judging` is the table of them."""
