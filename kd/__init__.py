"""Knowledge distillation from a nonlinear digital teacher into a physical optical student."""
