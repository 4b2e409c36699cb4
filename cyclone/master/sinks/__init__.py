"""The master's side of its sinks: recorded results to each, in order, again until it says that they are kept there."""
