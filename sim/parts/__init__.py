"""An experiment in parts that never meet: what can be divided, how parts run and become one run again."""
