"""What is measured of a trained model, and what it answers about images: test split, disturbances, provenance."""
