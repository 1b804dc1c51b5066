"""What makes a checkpoint safe and whole: each check takes [`CheckpointFiles`] and yields [`Finding`]s."""
