"""SIREN (arXiv 2006.09661) over positionally encoded coordinates, as Strümpler et al. have it."""
