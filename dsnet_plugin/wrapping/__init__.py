"""What wrapping is made of, one idea a file: traces of a forward pass, blocks, the search among them, inputs, replacement."""
