"""GANs that users bring: any generator, compressed by the same algorithm as the families."""
