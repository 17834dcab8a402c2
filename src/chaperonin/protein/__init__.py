"""What is true of proteins without a network."""
