"""Training: `Trainer`, its settings, and checkpoints that continue bitwise."""
