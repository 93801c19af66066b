"""Demo datasets: four small worlds that numpy renders, the same on every machine; the registry is the only way to them."""
