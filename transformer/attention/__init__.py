"""Attention: scores, masks, and the weighted sum. Pure functions first, thin modules on them."""
