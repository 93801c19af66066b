"""The file formats of exported generators: each is a runtime of the entry-point group `gcc.runtimes`."""
