"""Signs in to a KFP API server, sends requests, and checks the answers."""
