"""Claims, and the commands that check them: fidelity, cost, demo."""
