"""Channel groups of any module, found in its graph of ATen operators, and the module without some of those channels."""
