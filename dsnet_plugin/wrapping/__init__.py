"""The parts of wrapping, one idea a file: traces of a forward pass, blocks, the search among them, inputs, replacement."""
