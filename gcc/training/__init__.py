"""What training needs besides the method: numerical precision, optimisers, the device, progress and records."""
