"""What happens inside one replica: the parts that both engines share, and a folder for each engine."""
