"""The paper's claims, each weighed by what runs measured. A new claim is one file and a row in `table`."""
