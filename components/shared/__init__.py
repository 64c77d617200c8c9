"""What several steps use. A step imports this package and never another step."""
