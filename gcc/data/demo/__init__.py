"""Demo datasets: four small worlds that numpy renders, the same on every machine. Access them through `gcc.registry.DATASETS`."""
