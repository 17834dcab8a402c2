"""What the published AIDO.Protein says of made-up parameters."""
