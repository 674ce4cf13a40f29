"""How good a model is: metrics with intervals, paired comparison with the champion, and the gate."""
