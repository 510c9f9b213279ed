"""One kind of waste a file: each rule is a function of values that returns a finding or None, with its reason."""
