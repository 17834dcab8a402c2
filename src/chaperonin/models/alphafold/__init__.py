"""AlphaFold 2 (Jumper et al. 2021, Nature 596:583), monomer: sequence and alignment to structure."""
