"""Many runs of experiments: what a job is, where finished ones are kept, who computes the others."""
