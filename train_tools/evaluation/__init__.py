"""Does it pay? Encoders fine-tuned on a user's labels, and a verdict with an interval."""
