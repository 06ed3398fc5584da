"""HyperModels as users write them; `user_spaces` is what space.import names."""
