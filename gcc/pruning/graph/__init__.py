"""Channel groups of any module, read off its graph of ATen operators, and the module without some of them."""
