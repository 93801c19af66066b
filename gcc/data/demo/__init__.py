"""Demo data: small worlds that are drawn by numpy, the same on every machine."""
