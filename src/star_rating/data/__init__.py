"""TFRecord channels: what their manifests say, how they are checked, and the batches that come of them."""
