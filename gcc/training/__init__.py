"""What training needs besides the method: how networks run, optimisers, the device, progress and records."""
