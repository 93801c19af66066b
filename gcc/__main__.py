"""`python -m gcc`."""

from gcc.cli import main

main(prog_name="gcc")
