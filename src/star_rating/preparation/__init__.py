"""From raw reviews to TFRecord channels: read, split, tokenise, write. Needs no TensorFlow."""
