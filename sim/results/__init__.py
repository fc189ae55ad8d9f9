"""What a run leaves behind and every figure that follows from it."""
