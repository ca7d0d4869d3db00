"""How runs become one prediction: weights, means, stacking, and the choice among them."""
