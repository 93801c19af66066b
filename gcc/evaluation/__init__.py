"""Quality metrics of generated images."""
