"""Does it pay? Encoders fine-tuned on labels, paired by seeds, and a verdict."""
