"""Generic helpers; they import only `gcc.errors` and each other."""
