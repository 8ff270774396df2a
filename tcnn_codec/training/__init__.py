"""Training: which pixels each step sees, how far it goes, the optimiser, and the loop over them."""
