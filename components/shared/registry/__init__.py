"""Published versions, and which of them is the latest."""
