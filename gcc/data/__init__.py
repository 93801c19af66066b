"""Where training images come from: data sets on disk, the generated demo data, and the batches made of them."""
