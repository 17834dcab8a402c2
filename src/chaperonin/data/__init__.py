"""Records to batches: what people bring, one record at a time, and what a model is given."""
