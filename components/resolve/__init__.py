"""resolve: what a run cannot know before it starts."""
