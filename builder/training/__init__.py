"""Training: recipes, augmentation, the loop, and what a run leaves behind."""
