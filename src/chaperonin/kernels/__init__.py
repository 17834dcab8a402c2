"""One callable per operation: a readable reference, and faster bodies that must equal it."""
