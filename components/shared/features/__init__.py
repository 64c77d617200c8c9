"""Feature types, the statistics they need, and encoding with a FeatureSpace."""
