"""AlphaFold 2 as published, run once on random parameters: its results, and the script that made them."""
