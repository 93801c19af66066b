"""The GAN families, one file each, the layers that they share, and helpers for any `nn.Module`.

To add a family, subclass `gcc.registry.Architecture` and register the class under the entry-point group `gcc.architectures` in a
`pyproject.toml`; `gcc plugin new` writes both. `gcc.registry.ARCHITECTURES` loads families by name; no module imports one directly.
"""
