"""publish: what passed goes to where serving takes it from."""
